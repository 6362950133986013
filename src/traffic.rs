//! Counters of messages and bytes.

use std::ops::AddAssign;

/// Numbers of messages and bytes in both directions, of one connection or of a
/// whole node.
///
/// Bytes include the framing, so both ends of a connection count the same.
///
/// - *Sent* counts messages that a send call accepted.
///   [`Metrics::bytes_lost`](crate::Metrics::bytes_lost) counts the accepted
///   bytes that were lost with their connection.
/// - *Received* counts messages that were delivered to
///   [`Handler::on_message`](crate::Handler::on_message), including the message
///   that is being delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// Number of messages accepted for sending.
    pub messages_sent: u64,
    /// Number of bytes of these messages, including the framing.
    pub bytes_sent: u64,
    /// Number of messages delivered to the handler.
    pub messages_received: u64,
    /// Number of bytes of these messages, including the framing.
    pub bytes_received: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.messages_sent += other.messages_sent;
        self.bytes_sent += other.bytes_sent;
        self.messages_received += other.messages_received;
        self.bytes_received += other.bytes_received;
    }
}
