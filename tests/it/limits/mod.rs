//! Limits on connections, handshakes and memory.

mod connections;
