//! Timeouts of connections.

mod handshake;
