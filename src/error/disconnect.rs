//! Reasons for which connections end.

use std::error::Error;
use std::fmt;
use std::io;

use super::{FramingError, OsError, SessionError};

/// Why an established connection ended.
///
/// Inside [`Handler::on_disconnect`](crate::Handler::on_disconnect),
/// [`Connection::queued_bytes`](crate::Connection::queued_bytes) is what had
/// been accepted for sending and never reached the kernel. After
/// [`Net::close`](crate::Net::close), [`DisconnectReason::PeerClosed`],
/// [`DisconnectReason::Truncated`] and [`DisconnectReason::Shutdown`] what was
/// queued is sent first, unless that makes no progress for
/// [`Timeouts::linger`](crate::config::Timeouts::linger) or outlasts the grace.
/// After all others it is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// This node closed or aborted the connection.
    Local,
    /// This node aborted the connection with
    /// [`Net::abort_with_reason`](crate::Net::abort_with_reason), which gave
    /// this reason.
    Application(&'static str),
    /// The peer ended its stream between two messages.
    PeerClosed,
    /// The peer ended its stream inside a message.
    Truncated {
        /// Bytes of the incomplete message that had arrived, its header
        /// included.
        bytes: usize,
    },
    /// The peer reset the connection.
    Reset,
    /// The operating system ended the connection.
    Io(OsError),
    /// The peer announced or sent a message longer than allowed.
    MessageTooLarge {
        /// The announced length. For framings without a length prefix, how much
        /// had arrived without an end.
        len: u64,
        /// The maximum on this connection.
        max: usize,
    },
    /// The peer sent bytes that are no frame. The text says what is wrong with
    /// them.
    MalformedFrame(&'static str),
    /// The session failed, or refused the peer, or was refused by it.
    Session(SessionError),
    /// A timeout passed.
    Timeout(TimeoutKind),
    /// The send queue reached
    /// [`max_bytes`](crate::config::SendQueueConfig::max_bytes), and
    /// [`OnFull::Disconnect`](crate::config::OnFull::Disconnect) is set.
    SendQueueFull,
    /// The incomplete messages of the loop held more than
    /// [`loop_receive_bytes`](crate::config::Limits::loop_receive_bytes), and
    /// this connection had the largest one of the address that held most.
    MemoryLimit,
    /// A callback for this connection panicked.
    HandlerPanicked,
    /// The other end is this node itself.
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
    /// Returns whether the reason shows misbehavior of the peer, for ban
    /// scores.
    ///
    /// True for [`DisconnectReason::MessageTooLarge`],
    /// [`DisconnectReason::MalformedFrame`], [`TimeoutKind::PartialMessage`],
    /// and a [`DisconnectReason::Session`] whose error [is the peer's
    /// fault](SessionError::is_peers_fault). False for all others: an honest
    /// peer can close, lose its network or be slow to read.
    pub fn is_peers_fault(&self) -> bool {
        match self {
            Self::MessageTooLarge { .. }
            | Self::MalformedFrame(_)
            | Self::Timeout(TimeoutKind::PartialMessage) => true,
            Self::Session(error) => error.is_peers_fault(),
            _ => false,
        }
    }

    /// The reason for an end that the operating system reported. On an
    /// established connection all of these kinds mean that the peer has reset
    /// it; the call that finds out decides which is reported.
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
    /// No complete message for
    /// [`Timeouts::idle`](crate::config::Timeouts::idle).
    Idle,
    /// A message was incomplete, and no byte of it arrived for
    /// [`Timeouts::partial_message`](crate::config::Timeouts::partial_message).
    PartialMessage,
    /// A message arrived more slowly than
    /// [`MinRate::receive_bytes_per_second`](crate::config::MinRate::receive_bytes_per_second).
    ReceiveRate,
    /// The queue was taken more slowly than
    /// [`MinRate::send_bytes_per_second`](crate::config::MinRate::send_bytes_per_second).
    SendRate,
    /// Something was queued, and the peer took nothing for
    /// [`Timeouts::write_stall`](crate::config::Timeouts::write_stall).
    WriteStall,
    /// The connection was closing, and neither a queued byte was taken nor the
    /// peer's end of stream seen for
    /// [`Timeouts::linger`](crate::config::Timeouts::linger).
    Linger,
}

impl fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
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
    fn an_end_that_an_honest_peer_can_cause_is_not_its_fault() {
        for reason in [
            DisconnectReason::MessageTooLarge { len: 2, max: 1 },
            DisconnectReason::MalformedFrame(""),
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
            DisconnectReason::Shutdown,
        ] {
            assert!(!reason.is_peers_fault(), "{reason}");
        }
    }
}
