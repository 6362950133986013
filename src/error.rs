//! What can go wrong, one small enum per operation.

use std::error::Error;
use std::fmt;
use std::io;

/// Why a frame was not queued. Nothing of it was taken, and the connection is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The id is unknown or stale, or the connection is not established yet, is closing, or its sending half was shut.
    Closed,
    /// The queue of this connection, of the whole loop, or of commands from other threads, is at its hard cap.
    /// For the first two, [`Handler::on_drain`](crate::Handler::on_drain) says when to try again.
    Full,
    /// The body is longer than `max_frame`, or than the length prefix can say.
    TooLarge,
    /// The framing cannot carry this body: the wrong length for [`Framing::Fixed`](crate::Framing::Fixed), nothing at
    /// all for [`Framing::Raw`](crate::Framing::Raw), the delimiter inside a body for
    /// [`Framing::Delimited`](crate::Framing::Delimited), or a custom framer's refusal.
    Unframable,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is not open for sending",
            Self::Full => "the queue is full",
            Self::TooLarge => "the body is larger than a frame may be",
            Self::Unframable => "the framing cannot carry this body",
        })
    }
}

impl Error for SendError {}

impl From<SendError> for io::Error {
    fn from(error: SendError) -> Self {
        let kind = match error {
            SendError::Closed => io::ErrorKind::NotConnected,
            SendError::Full => io::ErrorKind::WouldBlock,
            SendError::TooLarge | SendError::Unframable => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

/// Why a dial was refused at once, or why it never reached [`Handler::on_connect`](crate::Handler::on_connect).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The node is shutting down.
    ShuttingDown,
    /// The node has [`Config::max_connections`](crate::Config::max_connections) connections and dials.
    TooManyConnections,
    /// [`Config::max_connections_per_ip`](crate::Config::max_connections_per_ip) connections with this IP address.
    TooManyFromAddress,
    /// [`Config::max_connections_per_prefix`](crate::Config::max_connections_per_prefix) connections with this network.
    TooManyFromPrefix,
    /// [`Config::max_connecting_outbound`](crate::Config::max_connecting_outbound) dials are under way.
    TooManyConnecting,
    /// There is a connection with this address, and duplicates are refused.
    AlreadyConnected,
    /// A dial to this address is under way, and duplicates are refused.
    AlreadyConnecting,
    /// The node reached itself.
    SelfConnection,
    /// The address cannot be dialled: its port is zero.
    InvalidAddress,
    /// The options of this dial are invalid; the field is named.
    InvalidOption(&'static str),
    /// The dial was given up with [`Net::close`](crate::Net::close) or [`Net::abort`](crate::Net::abort).
    Cancelled,
    /// No TCP connection was made within [`Timeouts::connect`](crate::Timeouts::connect).
    TimedOut,
    /// The handshake was not over within [`Timeouts::handshake`](crate::Timeouts::handshake).
    HandshakeTimedOut,
    /// The handshake failed.
    Session(SessionError),
    /// A callback for this dial panicked.
    HandlerPanicked,
    /// The operating system said no, for instance `ConnectionRefused` or `NetworkUnreachable`. During a handshake
    /// `UnexpectedEof` means that the peer ended the connection, `ConnectionReset` that it reset it.
    Io(io::ErrorKind),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShuttingDown => f.write_str("the node is shutting down"),
            Self::TooManyConnections => f.write_str("the node is at its limit of connections"),
            Self::TooManyFromAddress => f.write_str("too many connections with this address"),
            Self::TooManyFromPrefix => f.write_str("too many connections with this network"),
            Self::TooManyConnecting => f.write_str("too many dials are under way"),
            Self::AlreadyConnected => f.write_str("already connected with this address"),
            Self::AlreadyConnecting => f.write_str("already dialling this address"),
            Self::SelfConnection => f.write_str("the node reached itself"),
            Self::InvalidAddress => f.write_str("the address cannot be dialled"),
            Self::InvalidOption(field) => write!(f, "invalid dial option: {field}"),
            Self::Cancelled => f.write_str("the dial was cancelled"),
            Self::TimedOut => f.write_str("no answer within the connect timeout"),
            Self::HandshakeTimedOut => f.write_str("the handshake took too long"),
            Self::Session(error) => write!(f, "handshake: {error}"),
            Self::HandlerPanicked => f.write_str("a callback panicked"),
            Self::Io(kind) => write!(f, "{kind}"),
        }
    }
}

impl Error for ConnectError {}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        let kind = match error {
            ConnectError::ShuttingDown => io::ErrorKind::Other,
            ConnectError::TooManyConnections
            | ConnectError::TooManyFromAddress
            | ConnectError::TooManyFromPrefix
            | ConnectError::TooManyConnecting => io::ErrorKind::QuotaExceeded,
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
            ConnectError::HandlerPanicked => io::ErrorKind::Other,
            ConnectError::Io(kind) => kind,
        };
        Self::new(kind, error)
    }
}

/// Why a connection ended: who did it, and how.
///
/// Inside [`Handler::on_disconnect`](crate::Handler::on_disconnect), [`Net::queued`](crate::Net::queued) still tells
/// how many bytes had been accepted for sending and never reached the kernel. After [`Net::close`](crate::Net::close),
/// [`DisconnectReason::PeerClosed`], [`DisconnectReason::Truncated`] and [`DisconnectReason::Shutdown`] what was queued is
/// sent first, within [`Timeouts::linger`](crate::Timeouts::linger) or the grace; after all others it is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// This node closed or aborted it.
    Local,
    /// The peer ended its stream between two frames.
    PeerClosed,
    /// The peer ended its stream in the middle of a frame, of which this many bytes had arrived.
    Truncated {
        /// Bytes of the incomplete frame, its header included.
        bytes: usize,
    },
    /// The peer reset the connection.
    Reset,
    /// The operating system ended it.
    Io(io::ErrorKind),
    /// The peer announced or sent a frame longer than allowed.
    MessageTooLarge {
        /// The announced length; for framings without a length prefix, how much had arrived without an end.
        len: u64,
        /// The largest body allowed on this connection.
        max: usize,
    },
    /// The peer sent bytes that are no frame; what is wrong with them.
    MalformedFrame(&'static str),
    /// The session failed, or refused the peer, or was refused by it.
    Session(SessionError),
    /// A deadline passed.
    Timeout(TimeoutKind),
    /// Its queue reached [`Config::queue_max`](crate::Config::queue_max), and the policy is to close it then.
    SendQueueFull,
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
            Self::PeerClosed => f.write_str("closed by the peer"),
            Self::Truncated { bytes } => {
                write!(f, "the peer ended the stream {bytes} bytes into a frame")
            }
            Self::Reset => f.write_str("reset by the peer"),
            Self::Io(kind) => write!(f, "{kind}"),
            Self::MessageTooLarge { len, max } => {
                write!(f, "a frame of {len} bytes where {max} are allowed")
            }
            Self::MalformedFrame(what) => write!(f, "malformed frame: {what}"),
            Self::Session(error) => write!(f, "session: {error}"),
            Self::Timeout(phase) => write!(f, "{phase} timeout"),
            Self::SendQueueFull => f.write_str("its queue overflowed"),
            Self::HandlerPanicked => f.write_str("a callback panicked"),
            Self::SelfConnection => f.write_str("the node reached itself"),
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

impl From<DisconnectReason> for ConnectError {
    /// What the end of a connection means for the dial, when it comes before the handshake is over.
    fn from(reason: DisconnectReason) -> Self {
        match reason {
            DisconnectReason::Local => Self::Cancelled,
            DisconnectReason::PeerClosed | DisconnectReason::Truncated { .. } => {
                Self::Io(io::ErrorKind::UnexpectedEof)
            }
            DisconnectReason::Reset => Self::Io(io::ErrorKind::ConnectionReset),
            DisconnectReason::Io(kind) => Self::Io(kind),
            DisconnectReason::Session(error) => Self::Session(error),
            DisconnectReason::Timeout(_) => Self::HandshakeTimedOut,
            DisconnectReason::HandlerPanicked => Self::HandlerPanicked,
            DisconnectReason::SelfConnection => Self::SelfConnection,
            DisconnectReason::Shutdown => Self::ShuttingDown,
            DisconnectReason::MessageTooLarge { .. }
            | DisconnectReason::MalformedFrame(_)
            | DisconnectReason::SendQueueFull => Self::Io(io::ErrorKind::InvalidData),
        }
    }
}

impl DisconnectReason {
    /// The reason for an end that the operating system reported. On a connection that was made, all of these mean that
    /// the peer has reset it; which of them is said depends on the call that finds out.
    pub(crate) fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe => Self::Reset,
            kind => Self::Io(kind),
        }
    }
}

/// Which deadline passed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// The handshake was not over within [`Timeouts::handshake`](crate::Timeouts::handshake).
    Handshake,
    /// No complete message for [`Timeouts::idle`](crate::Timeouts::idle).
    Idle,
    /// A message was begun and not completed within [`Timeouts::partial_message`](crate::Timeouts::partial_message).
    PartialMessage,
    /// Something was queued, and the peer took nothing for [`Timeouts::write_stall`](crate::Timeouts::write_stall).
    WriteStall,
    /// A close was asked for, and the queue did not leave within [`Timeouts::linger`](crate::Timeouts::linger).
    Linger,
}

impl fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "handshake",
            Self::Idle => "idle",
            Self::PartialMessage => "partial frame",
            Self::WriteStall => "write stall",
            Self::Linger => "linger",
        })
    }
}

/// What a framing says of bytes that cannot be a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FramingError {
    /// The frame is longer than allowed.
    TooLarge {
        /// The announced length, or how much had arrived without an end.
        len: u64,
        /// The largest length allowed.
        max: usize,
    },
    /// The bytes are no frame; what is wrong with them.
    Malformed(&'static str),
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        DisconnectReason::from(*self).fmt(f)
    }
}

impl Error for FramingError {}

/// Why a session came to its end; the text says what was wrong, for people.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// The peer sent what the protocol does not allow: garbage, a forgery, a message out of turn.
    Malformed(&'static str),
    /// This side turned the peer away: a key, a certificate, a network or a version that it does not accept.
    Refused(&'static str),
    /// The peer turned this side away, and said so.
    RefusedByPeer(&'static str),
    /// The stream ended without the goodbye that the protocol asks for: cut off, by whomever.
    Truncated,
    /// This side could not go on, through no fault of the peer's.
    Failed(&'static str),
    /// A method of the session panicked; see [`Panics`](crate::Panics).
    Panicked,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "malformed: {what}"),
            Self::Refused(why) => write!(f, "the peer was refused: {why}"),
            Self::RefusedByPeer(why) => write!(f, "refused by the peer: {why}"),
            Self::Truncated => f.write_str("the stream ended without a goodbye"),
            Self::Failed(what) => write!(f, "failed: {what}"),
            Self::Panicked => f.write_str("the session panicked"),
        }
    }
}

impl Error for SessionError {}

/// A setting that cannot work, found before anything was started.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConfigError {
    /// The name of the field, as in [`Config`](crate::Config).
    pub field: &'static str,
    /// What is wrong with its value.
    pub problem: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid configuration: `{}` {}",
            self.field, self.problem
        )
    }
}

impl Error for ConfigError {}

impl From<ConfigError> for io::Error {
    fn from(error: ConfigError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
