//! Errors of sending datagrams.

use std::error::Error;
use std::fmt;
use std::io;

/// The reason why a datagram was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SendToError {
    /// The id is stale, or belongs to another [shard](crate::shards).
    Closed,
    /// The ring of the socket has no room for the datagram.
    /// [`Handler::on_udp_drain`](crate::Handler::on_udp_drain) is called when
    /// there is room.
    Full,
    /// The datagram is longer than UDP allows (65,507 bytes over IPv4, 65,527
    /// over IPv6), or than the ring of the socket.
    TooLarge,
    /// The socket cannot send to this address: an IPv6 address and an IPv4
    /// socket, an IPv4 address and an IPv6 socket that is not bound to `[::]`
    /// or is [`v6_only`](crate::UdpOptions::v6_only), or port 0.
    InvalidAddress,
}

impl fmt::Display for SendToError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the socket is closed",
            Self::Full => "the ring of the socket is full",
            Self::TooLarge => "the datagram is too long",
            Self::InvalidAddress => "the socket cannot send to this address",
        })
    }
}

impl Error for SendToError {}

impl From<SendToError> for io::Error {
    fn from(error: SendToError) -> Self {
        let kind = match error {
            SendToError::Closed => io::ErrorKind::NotConnected,
            SendToError::Full => io::ErrorKind::WouldBlock,
            SendToError::TooLarge | SendToError::InvalidAddress => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}
