//! Reasons for which connections end.

use std::error::Error;
use std::fmt;
use std::io;

use super::{FramingError, OsError, SessionError};

/// The reason why an established connection ended.
///
/// Queued messages are sent before the end for
/// - [`Net::close`](crate::Net::close), [`DisconnectReason::PeerClosed`] and
///   [`DisconnectReason::Truncated`], unless sending makes no progress for
///   [`Timeouts::linger`](crate::config::Timeouts::linger);
/// - [`DisconnectReason::Shutdown`], unless sending makes no progress for that
///   time or exceeds the grace of the shutdown;
/// - [`DisconnectReason::MessageTooLarge`] and
///   [`DisconnectReason::MalformedFrame`], if
///   [`OnFramingError::Close`](crate::config::OnFramingError::Close) is set,
///   and unless sending makes no progress for `linger`.
///
/// For all other reasons they are dropped. In
/// [`Handler::on_disconnect`](crate::Handler::on_disconnect),
/// [`Connection::queued_bytes`](crate::Connection::queued_bytes) is the number
/// of accepted bytes that the kernel did not take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// This node closed the connection with [`Net::close`](crate::Net::close),
    /// or aborted it with [`Net::abort`](crate::Net::abort).
    Local,
    /// This node aborted the connection with
    /// [`Net::abort_with_reason`](crate::Net::abort_with_reason). Contains the
    /// text given there.
    Application(&'static str),
    /// The peer closed its side of the stream between two messages.
    PeerClosed,
    /// The peer closed its side of the stream inside a message.
    Truncated {
        /// Number of bytes of the incomplete message that had arrived,
        /// including its header.
        bytes: usize,
    },
    /// The peer reset the connection.
    Reset,
    /// The operating system reported an error of the connection.
    Io(OsError),
    /// The peer announced or sent a message that is longer than
    /// [`max_message_len`](crate::config::ConnectionConfig::max_message_len).
    MessageTooLarge {
        /// The announced length in bytes. For framings without a length prefix,
        /// the number of bytes that had arrived without an end.
        len: u64,
        /// The maximum of this connection in bytes.
        max: usize,
    },
    /// The peer sent bytes that are not a frame. Contains a description.
    MalformedFrame(&'static str),
    /// The session failed, refused the peer, or was refused by the peer.
    Session(SessionError),
    /// A timeout passed.
    Timeout(TimeoutKind),
    /// A message did not fit into
    /// [`max_bytes`](crate::config::SendQueueConfig::max_bytes) of the send
    /// queue, and [`OnFull::Disconnect`](crate::config::OnFull::Disconnect) is
    /// set.
    SendQueueFull,
    /// The peer sent more than
    /// [`RateLimits`](crate::config::RateLimits) allow, and
    /// [`OnExcess::Disconnect`](crate::config::OnExcess::Disconnect) is set.
    ReceiveRateExceeded,
    /// The received data that the loop holds exceeded
    /// [`loop_receive_bytes`](crate::config::Limits::loop_receive_bytes). The
    /// address of this connection held the most memory, and of its connections
    /// this one.
    MemoryLimit,
    /// A callback for this connection panicked.
    HandlerPanicked,
    /// The peer is this node itself, and
    /// [`Config::allow_self_connections`](crate::Config::allow_self_connections)
    /// is false.
    SelfConnection,
    /// This node is shutting down.
    Shutdown,
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("closed by this node"),
            Self::Application(reason) => write!(f, "aborted by this node: {reason}"),
            Self::PeerClosed => f.write_str("closed by the peer"),
            Self::Truncated { bytes } => {
                write!(f, "the peer ended the stream {bytes} bytes into a message")
            }
            Self::Reset => f.write_str("reset by the peer"),
            Self::Io(error) => error.fmt(f),
            Self::MessageTooLarge { len, max } => {
                write!(f, "a message of {len} bytes where {max} are allowed")
            }
            Self::MalformedFrame(what) => write!(f, "malformed frame: {what}"),
            Self::Session(error) => write!(f, "session: {error}"),
            Self::Timeout(kind) => write!(f, "{kind} timeout"),
            Self::SendQueueFull => f.write_str("the send queue is full"),
            Self::ReceiveRateExceeded => f.write_str("the peer exceeded its rate"),
            Self::MemoryLimit => f.write_str("incomplete messages hold too much memory"),
            Self::HandlerPanicked => f.write_str("a callback panicked"),
            Self::SelfConnection => f.write_str("the node connected to itself"),
            Self::Shutdown => f.write_str("the node is shutting down"),
        }
    }
}

impl Error for DisconnectReason {}

impl From<FramingError> for DisconnectReason {
    fn from(error: FramingError) -> Self {
        match error {
            FramingError::TooLarge { len, max } => Self::MessageTooLarge { len, max },
            FramingError::Malformed(what) => Self::MalformedFrame(what),
        }
    }
}

impl DisconnectReason {
    /// Returns whether the peer is at fault. Use it for ban scores.
    ///
    /// True for
    /// - [`DisconnectReason::MessageTooLarge`];
    /// - [`DisconnectReason::MalformedFrame`];
    /// - [`DisconnectReason::ReceiveRateExceeded`], although with a rate per
    ///   address the other connections of the address may have used the tokens;
    /// - [`TimeoutKind::PartialMessage`];
    /// - [`DisconnectReason::Session`], if [`SessionError::is_peers_fault`] is
    ///   true for its error.
    ///
    /// False for all others, because a correct peer can close, lose its network
    /// or read slowly.
    pub fn is_peers_fault(&self) -> bool {
        match self {
            Self::MessageTooLarge { .. }
            | Self::MalformedFrame(_)
            | Self::ReceiveRateExceeded
            | Self::Timeout(TimeoutKind::PartialMessage) => true,
            Self::Session(error) => error.is_peers_fault(),
            _ => false,
        }
    }

    /// Returns whether the peer sent a malformed frame or a message that is too
    /// long.
    pub(crate) fn is_framing_error(self) -> bool {
        matches!(self, Self::MessageTooLarge { .. } | Self::MalformedFrame(_))
    }

    /// Returns the reason for an error that the operating system reported. On
    /// an established connection all of these kinds mean that the peer has
    /// reset it. Which of them is reported depends on the system call that
    /// fails first.
    pub(crate) fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe => Self::Reset,
            _ => Self::Io(error.into()),
        }
    }
}

/// The timeout that ended a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// No message was completely received or written for
    /// [`Timeouts::idle`](crate::config::Timeouts::idle).
    Idle,
    /// No byte arrived from the peer for
    /// [`Timeouts::receive_idle`](crate::config::Timeouts::receive_idle).
    ReceiveIdle,
    /// No byte of an incomplete message arrived for
    /// [`Timeouts::partial_message`](crate::config::Timeouts::partial_message).
    PartialMessage,
    /// A message arrived more slowly than
    /// [`MinRate::receive_bytes_per_second`](crate::config::MinRate::receive_bytes_per_second).
    ReceiveRate,
    /// The kernel took queued bytes more slowly than
    /// [`MinRate::send_bytes_per_second`](crate::config::MinRate::send_bytes_per_second).
    SendRate,
    /// The kernel took no queued byte for
    /// [`Timeouts::write_stall`](crate::config::Timeouts::write_stall).
    WriteStall,
    /// The connection was closing, and the kernel took no queued byte for
    /// [`Timeouts::linger`](crate::config::Timeouts::linger).
    Linger,
}

impl fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::ReceiveIdle => "receive idle",
            Self::PartialMessage => "partial message",
            Self::ReceiveRate => "receive rate",
            Self::SendRate => "send rate",
            Self::WriteStall => "write stall",
            Self::Linger => "linger",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disconnect_blames_peer_only_for_its_fault() {
        for reason in [
            DisconnectReason::MessageTooLarge { len: 2, max: 1 },
            DisconnectReason::MalformedFrame(""),
            DisconnectReason::ReceiveRateExceeded,
            DisconnectReason::Session(SessionError::Malformed("")),
            DisconnectReason::Timeout(TimeoutKind::PartialMessage),
        ] {
            assert!(reason.is_peers_fault(), "{reason}");
        }
        for reason in [
            DisconnectReason::Application("at capacity"),
            DisconnectReason::PeerClosed,
            DisconnectReason::Truncated { bytes: 1 },
            DisconnectReason::Reset,
            DisconnectReason::Session(SessionError::Truncated),
            DisconnectReason::Timeout(TimeoutKind::Idle),
            DisconnectReason::Timeout(TimeoutKind::ReceiveIdle),
            DisconnectReason::Shutdown,
        ] {
            assert!(!reason.is_peers_fault(), "{reason}");
        }
    }
}
