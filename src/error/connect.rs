//! Errors of connecting.

use std::error::Error;
use std::fmt;
use std::io;

use super::{DisconnectReason, OsError, SessionError};

/// The reason why a connect was refused, or why a connection ended before
/// [`Handler::on_connect`](crate::Handler::on_connect).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The node is shutting down.
    ShuttingDown,
    /// [`Limits::max_connections`](crate::config::Limits::max_connections) is
    /// reached. Slots that are reserved for others count as taken.
    TooManyConnections,
    /// [`Limits::max_connections_per_address`](crate::config::Limits::max_connections_per_address)
    /// is reached.
    TooManyFromAddress,
    /// [`Limits::max_connections_per_prefix`](crate::config::Limits::max_connections_per_prefix)
    /// is reached.
    TooManyFromPrefix,
    /// [`Limits::max_outbound_connecting`](crate::config::Limits::max_outbound_connecting)
    /// is reached.
    ///
    /// For an inbound connection:
    /// [`Limits::max_inbound_handshakes`](crate::config::Limits::max_inbound_handshakes)
    /// or
    /// [`ListenerLimits::max_handshakes`](crate::config::ListenerLimits::max_handshakes)
    /// is reached, and no other handshake is ended for it.
    TooManyConnecting,
    /// [`Limits::handshakes_per_address`](crate::config::Limits::handshakes_per_address)
    /// is exceeded.
    TooManyHandshakesFromAddress,
    /// The inbound handshake lost its place to another one, because
    /// [`Limits::max_inbound_handshakes`](crate::config::Limits::max_inbound_handshakes)
    /// or
    /// [`ListenerLimits::max_handshakes`](crate::config::ListenerLimits::max_handshakes)
    /// is reached.
    Evicted,
    /// There is a connection to this address, and
    /// [`Config::allow_duplicates`](crate::Config::allow_duplicates) is false.
    AlreadyConnected,
    /// The node is already connecting to this address, and
    /// [`Config::allow_duplicates`](crate::Config::allow_duplicates) is false.
    AlreadyConnecting,
    /// The node connected to itself, and
    /// [`Config::allow_self_connections`](crate::Config::allow_self_connections)
    /// is false.
    SelfConnection,
    /// The address has port zero or is not a numeric address.
    /// [`Handle::connect_wait`](crate::Handle::connect_wait) resolves host
    /// names.
    InvalidAddress,
    /// An option is invalid. Contains the name of the field.
    InvalidOption(&'static str),
    /// The attempt was cancelled with [`Net::close`](crate::Net::close) or
    /// [`Net::abort`](crate::Net::abort).
    Cancelled,
    /// No TCP connection was established within
    /// [`Timeouts::connect`](crate::config::Timeouts::connect), or within the
    /// timeout of [`Handle::connect_wait`](crate::Handle::connect_wait).
    TimedOut,
    /// The handshake did not complete within
    /// [`Timeouts::handshake`](crate::config::Timeouts::handshake).
    HandshakeTimedOut,
    /// The handler returned no usable transport.
    Transport(TransportError),
    /// The handshake of the session failed.
    Session(SessionError),
    /// A callback for this connection panicked.
    HandlerPanicked,
    /// The operating system reported an error, such as `ConnectionRefused` or
    /// `NetworkUnreachable`.
    ///
    /// During a handshake, `UnexpectedEof` means that the peer closed the
    /// connection, and `ConnectionReset` that the peer reset it.
    ///
    /// If there is a [code](OsError::code), it becomes the
    /// [`raw_os_error`](io::Error::raw_os_error) of an [`io::Error`].
    Io(OsError),
    /// The host name could not be resolved, or has no address. Only
    /// [`Handle::connect_wait`](crate::Handle::connect_wait) resolves names.
    Unresolved,
    /// A method that waits for a loop was called inside a callback; see
    /// [`Handle`](crate::Handle#what-may-be-called-where).
    WouldDeadlock,
    /// The node has stopped or was dropped.
    NodeStopped,
}

impl ConnectError {
    /// Returns whether the peer is at fault. Use it for ban scores.
    ///
    /// True for
    /// - [`ConnectError::HandshakeTimedOut`];
    /// - [`ConnectError::Session`], if [`SessionError::is_peers_fault`] is true
    ///   for its error.
    ///
    /// False for limits and decisions of this node and for errors of the
    /// network. False also if the peer closed or reset the connection during
    /// the handshake, because a correct peer that has reached a limit does
    /// that.
    pub fn is_peers_fault(&self) -> bool {
        match self {
            Self::HandshakeTimedOut => true,
            Self::Session(error) => error.is_peers_fault(),
            _ => false,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::ShuttingDown => "the node is shutting down",
            Self::TooManyConnections => {
                "all `max_connections` slots are taken or reserved for others"
            }
            Self::TooManyFromAddress => "too many connections with this address",
            Self::TooManyFromPrefix => "too many connections with this network",
            Self::TooManyConnecting => "too many connections are connecting",
            Self::TooManyHandshakesFromAddress => "too many handshakes with this address",
            Self::Evicted => "the handshake lost its place to another one",
            Self::AlreadyConnected => "already connected to this address",
            Self::AlreadyConnecting => "already connecting to this address",
            Self::SelfConnection => "the node connected to itself",
            Self::InvalidAddress => {
                "not a numeric address with a port; `connect_wait` resolves host names"
            }
            Self::Cancelled => "the attempt was cancelled",
            Self::TimedOut => "the connect timed out",
            Self::HandshakeTimedOut => "the handshake did not complete in time",
            Self::HandlerPanicked => "a callback panicked",
            Self::Unresolved => "the name could not be resolved",
            Self::WouldDeadlock => "waiting inside a callback would be a deadlock",
            Self::NodeStopped => "the node has stopped",
            Self::InvalidOption(field) => return write!(f, "invalid option: {field}"),
            Self::Transport(error) => return write!(f, "transport: {error}"),
            Self::Session(error) => return write!(f, "handshake: {error}"),
            Self::Io(error) => return error.fmt(f),
        };
        f.write_str(text)
    }
}

impl Error for ConnectError {}

impl From<ConnectError> for io::Error {
    /// Returns an error of the corresponding kind with the `ConnectError`
    /// inside, which [`io::Error::downcast`] returns.
    ///
    /// A [`ConnectError::Io`] with a code of the system becomes the error of
    /// the standard library for this code, as `TcpStream::connect` returns it:
    /// [`io::Error::raw_os_error`] returns the code, and nothing is inside.
    fn from(error: ConnectError) -> Self {
        let kind = match error {
            ConnectError::TooManyConnections
            | ConnectError::TooManyFromAddress
            | ConnectError::TooManyFromPrefix
            | ConnectError::TooManyConnecting
            | ConnectError::TooManyHandshakesFromAddress
            | ConnectError::Evicted => io::ErrorKind::QuotaExceeded,
            ConnectError::AlreadyConnected | ConnectError::AlreadyConnecting => {
                io::ErrorKind::AlreadyExists
            }
            ConnectError::SelfConnection => io::ErrorKind::AddrInUse,
            ConnectError::InvalidAddress | ConnectError::InvalidOption(_) => {
                io::ErrorKind::InvalidInput
            }
            ConnectError::Cancelled => io::ErrorKind::ConnectionAborted,
            ConnectError::TimedOut | ConnectError::HandshakeTimedOut => io::ErrorKind::TimedOut,
            ConnectError::Session(_) => io::ErrorKind::InvalidData,
            ConnectError::ShuttingDown
            | ConnectError::Transport(_)
            | ConnectError::HandlerPanicked => io::ErrorKind::Other,
            ConnectError::Io(error @ OsError { code: Some(_), .. }) => return error.into(),
            ConnectError::Io(error) => error.kind,
            ConnectError::Unresolved => io::ErrorKind::NotFound,
            ConnectError::WouldDeadlock => io::ErrorKind::Deadlock,
            ConnectError::NodeStopped => io::ErrorKind::BrokenPipe,
        };
        Self::new(kind, error)
    }
}

impl From<DisconnectReason> for ConnectError {
    /// Returns the error of a connection that ended with this reason before its
    /// handshake completed.
    fn from(reason: DisconnectReason) -> Self {
        match reason {
            DisconnectReason::Local | DisconnectReason::Application(_) => Self::Cancelled,
            DisconnectReason::PeerClosed | DisconnectReason::Truncated { .. } => {
                Self::Io(io::ErrorKind::UnexpectedEof.into())
            }
            DisconnectReason::Reset => Self::Io(io::ErrorKind::ConnectionReset.into()),
            DisconnectReason::Io(error) => Self::Io(error),
            DisconnectReason::Session(error) => Self::Session(error),
            DisconnectReason::Timeout(_) => Self::HandshakeTimedOut,
            DisconnectReason::MemoryLimit => Self::Io(io::ErrorKind::OutOfMemory.into()),
            DisconnectReason::HandlerPanicked => Self::HandlerPanicked,
            DisconnectReason::SelfConnection => Self::SelfConnection,
            DisconnectReason::Shutdown => Self::ShuttingDown,
            DisconnectReason::MessageTooLarge { .. }
            | DisconnectReason::MalformedFrame(_)
            | DisconnectReason::ReceiveRateExceeded
            | DisconnectReason::SendQueueFull => Self::Io(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The reason why [`Handler::transport`](crate::Handler::transport) returned no
/// usable transport.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TransportError {
    /// The method returned an error. The text of that error is logged at debug
    /// level.
    Handler,
    /// The method returned [`Transport::Plain`](crate::Transport::Plain), and
    /// [`ConnectionConfig::require_session`](crate::config::ConnectionConfig::require_session)
    /// is set.
    SessionRequired,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler => "the handler returned an error",
            Self::SessionRequired => "a session is required, and the handler returned none",
        })
    }
}

impl Error for TransportError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_error_blames_peer_only_for_its_fault() {
        let io = |kind: io::ErrorKind| ConnectError::Io(kind.into());
        for error in [
            ConnectError::HandshakeTimedOut,
            ConnectError::Session(SessionError::Malformed("")),
            ConnectError::Session(SessionError::Refused("")),
        ] {
            assert!(error.is_peers_fault(), "{error}");
        }
        for error in [
            ConnectError::TooManyFromAddress,
            ConnectError::TooManyConnecting,
            ConnectError::TooManyHandshakesFromAddress,
            ConnectError::Evicted,
            ConnectError::Transport(TransportError::Handler),
            ConnectError::Session(SessionError::RefusedByPeer("")),
            ConnectError::Session(SessionError::Panicked),
            io(io::ErrorKind::UnexpectedEof),
            io(io::ErrorKind::ConnectionReset),
        ] {
            assert!(!error.is_peers_fault(), "{error}");
        }
    }
}
