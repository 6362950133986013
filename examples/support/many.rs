//! The parts that `c10k` and `c100k` share.

use peerloop::{Config, ConnId};

/// The configuration of both ends of many connections, which have few addresses.
pub(crate) fn config(connections: usize) -> Config {
    let mut config = Config::default();
    config.limits.max_connections = connections;
    config.limits.max_connections_per_address = connections;
    config.limits.reserved_outbound = Some(0);
    // A queue takes 4 KiB, and all queues together three quarters of the limit.
    config.limits.loop_send_bytes = (8192 * connections).max(config.limits.loop_send_bytes);
    config.connection.timeouts.idle = None;
    config.allow_duplicates = true;
    config
}

/// A message that differs from all others of the process: of this connection, with
/// this number.
pub(crate) fn question(conn: ConnId, number: u64) -> [u8; 64] {
    let mut question = [b'?'; 64];
    question[..8].copy_from_slice(&conn.to_bits().to_be_bytes());
    question[8..16].copy_from_slice(&number.to_be_bytes());
    question
}
