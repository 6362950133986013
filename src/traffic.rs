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

/// Numbers of datagrams, of one UDP socket or of a whole node. Returned by
/// [`Net::udp_traffic`](crate::Net::udp_traffic), and in
/// [`Metrics::udp`](crate::Metrics::udp).
///
/// Bytes count without the headers of UDP and IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct UdpTraffic {
    /// Number of datagrams that the system took for sending.
    pub datagrams_sent: u64,
    /// Number of bytes of these datagrams.
    pub bytes_sent: u64,
    /// Number of datagrams delivered to
    /// [`Handler::on_datagram`](crate::Handler::on_datagram).
    pub datagrams_received: u64,
    /// Number of bytes of these datagrams.
    pub bytes_received: u64,
    /// Received datagrams that were dropped, because they are longer than
    /// [`UdpOptions::max_datagram_len`](crate::UdpOptions::max_datagram_len).
    pub too_long: u64,
    /// Datagrams refused with [`SendToError::Full`](crate::SendToError::Full).
    pub sends_refused: u64,
    /// Queued datagrams that were dropped, because the system refused them, or
    /// because it did not take them before the socket was closed.
    pub send_errors: u64,
    /// Errors that the system returned instead of a datagram, such as that no
    /// program receives at an address that was sent to (ICMP, port
    /// unreachable). The socket stays open.
    pub receive_errors: u64,
}

impl AddAssign for UdpTraffic {
    fn add_assign(&mut self, other: Self) {
        self.datagrams_sent += other.datagrams_sent;
        self.bytes_sent += other.bytes_sent;
        self.datagrams_received += other.datagrams_received;
        self.bytes_received += other.bytes_received;
        self.too_long += other.too_long;
        self.sends_refused += other.sends_refused;
        self.send_errors += other.send_errors;
        self.receive_errors += other.receive_errors;
    }
}
