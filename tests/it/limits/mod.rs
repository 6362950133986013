//! Limits on connections, handshakes and memory.
