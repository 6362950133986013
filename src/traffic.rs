//! Counters of messages and bytes.

use std::ops::AddAssign;

/// Messages and bytes in both directions, of one connection or of a whole node.
///
/// A message counts with its framing, so both ends count the same. *Sent*
/// counts what send calls accepted.
/// [`Metrics::bytes_lost`](crate::Metrics::bytes_lost) is the part of it that
/// was lost with its connection. *Received* counts what was delivered to
/// [`Handler::on_message`](crate::Handler::on_message), the message that is
/// being delivered included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// Messages accepted for sending.
    pub messages_sent: u64,
    /// Their bytes, framing included.
    pub bytes_sent: u64,
    /// Messages delivered to the handler.
    pub messages_received: u64,
    /// Their bytes, framing included.
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
