//! Limits on connections, handshakes and memory.

mod handshake_places;
