//! Counters of messages and bytes.

use std::ops::AddAssign;

/// Messages and bytes in both directions, of one connection or of a whole node.
///
/// Exact on both ends: a message counts with its framing. *Sent* is what a send call accepted; what of it was lost
/// with its connection is in [`Metrics::bytes_lost`](crate::Metrics::bytes_lost). *Received* is what was delivered to
/// [`Handler::on_message`](crate::Handler::on_message), counted once per read, after its last message; when the handler
/// panics in between, the messages of that read are not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
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
