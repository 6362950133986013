//! Timeouts of connections.
