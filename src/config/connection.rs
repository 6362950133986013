//! Settings of a connection.

use std::time::Duration;

use super::check::{KIB, MIB, check, check_nonzero};
use super::timeouts::{MinRate, Timeouts};
use crate::error::ConfigError;
use crate::framing::Framing;

/// Settings of a connection.
///
/// [`Config::connection`](crate::Config::connection) holds those of the node. A
/// listener and an outbound connection start from a copy of them and change it
/// with
/// [`ListenOptions::connection_mut`](crate::config::ListenOptions::connection_mut)
/// and
/// [`ConnectOptions::connection_mut`](crate::config::ConnectOptions::connection_mut).
///
/// ```
/// use peerloop::Config;
/// use peerloop::config::ConnectionConfig;
/// use peerloop::framing::{Framing, LengthPrefix};
///
/// let config = Config {
///     connection: ConnectionConfig {
///         framing: Framing::LengthDelimited(LengthPrefix::Varint),
///         max_message_len: 64 * 1024,
///         ..Default::default()
///     },
///     ..Default::default()
/// };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// How messages are separated on the wire. Both ends must agree.
    ///
    /// Default: a 4-byte big-endian length, as tokio-util's
    /// `LengthDelimitedCodec` writes it.
    pub framing: Framing,
    /// Maximum length of a message in bytes, in both directions.
    ///
    /// The body alone counts. For a custom framing it is what
    /// [`Framer::decode`](crate::framing::Framer::decode) consumes for one
    /// message. A longer message is refused on its header, before memory is
    /// spent on it, and ends the connection.
    ///
    /// Default: 8 MiB, which is tokio-util's limit too.
    pub max_message_len: usize,
    /// Timeouts of the connection.
    pub timeouts: Timeouts,
    /// Minimum rates of messages that arrive and of the queue that is sent.
    pub min_rate: MinRate,
    /// Watermarks and maximum of the send queue.
    pub send_queue: SendQueueConfig,
    /// Whether the connection stays open when the peer closes its sending side.
    ///
    /// If it does, [`Handler::on_read_closed`](crate::Handler::on_read_closed)
    /// is called and this node can send until it closes. Otherwise what is
    /// queued by then is sent and the connection ends: an answer that comes
    /// later, from another thread for instance, is refused with
    /// [`SendError::Closed`](crate::SendError::Closed).
    ///
    /// Default: false.
    pub allow_half_open: bool,
    /// Whether this node's handler must provide a session.
    ///
    /// If it must, a [`Transport::Plain`](crate::Transport::Plain) from
    /// [`Handler::transport`](crate::Handler::transport) ends the connection
    /// with [`ConnectError::Transport`](crate::ConnectError::Transport), so
    /// that a handler that forgets to implement or to forward that method sends
    /// nothing in plaintext. A session that becomes
    /// [`Stage::Transparent`](crate::session::Stage::Transparent) is a session
    /// too, although it does not encrypt.
    ///
    /// A *peer* without the session fails in the handshake, with this setting
    /// or without it: with
    /// [`SessionError::Malformed`](crate::error::SessionError::Malformed) if it
    /// sends something else, with
    /// [`ConnectError::HandshakeTimedOut`](crate::ConnectError::HandshakeTimedOut)
    /// if it is silent, or with [`ConnectError::Io`](crate::ConnectError::Io)
    /// if it closes the connection.
    ///
    /// Default: false.
    pub require_session: bool,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            framing: Framing::default(),
            max_message_len: 8 * MIB,
            timeouts: Timeouts::default(),
            min_rate: MinRate::default(),
            send_queue: SendQueueConfig::default(),
            allow_half_open: false,
            require_session: false,
        }
    }
}

impl ConnectionConfig {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let max = self.max_message_len;
        check_nonzero([("max_message_len", max == 0)])?;
        let fits = max <= isize::MAX as usize / 2;
        check(fits, "max_message_len", "is more than memory can hold")?;
        if let Framing::Fixed(len) = self.framing {
            check(len > 0, "framing", "must not be `Fixed(0)`")?;
            check(len <= max, "framing", "is longer than `max_message_len`")?;
        }
        self.send_queue.validate()?;
        self.min_rate.validate()?;
        self.timeouts.validate()
    }

    /// How often an open connection is checked. A timeout that has just begun
    /// cannot pass before this time, so traffic need not move the timer.
    pub(crate) fn shortest_timeout(&self) -> Option<Duration> {
        let all = [self.timeouts.shortest(), self.min_rate.judged_after()];
        all.into_iter().flatten().min()
    }
}

/// Watermarks and maximum of the send queue of one connection.
///
/// The bytes of a queue are counted with what it costs to keep them in lists.
/// The memory of all queues has a limit of its own,
/// [`loop_send_bytes`](crate::config::Limits::loop_send_bytes), which may
/// refuse a send earlier: a queue that is alone reaches three eighths of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendQueueConfig {
    /// Bytes queued at or below which
    /// [`Handler::on_drain`](crate::Handler::on_drain) is called, if it is
    /// owed. At most `high_bytes`.
    ///
    /// Default: 64 KiB, so that the socket does not run dry while the handler
    /// refills the queue.
    pub low_bytes: usize,
    /// Bytes queued at or above which
    /// [`Net::is_writable`](crate::Net::is_writable) is false and an `on_drain`
    /// is owed.
    ///
    /// Default: 256 KiB, which fills a write budget.
    pub high_bytes: usize,
    /// Maximum number of bytes queued. A send that would exceed it is refused
    /// with [`SendError::Full`](crate::SendError::Full). An empty queue takes a
    /// message of any length that
    /// [`loop_send_bytes`](crate::config::Limits::loop_send_bytes) has room
    /// for. At least `high_bytes`.
    ///
    /// Default: 4 MiB.
    pub max_bytes: usize,
    /// The policy for a send that would exceed `max_bytes`.
    ///
    /// Default: [`OnFull::Refuse`].
    pub on_full: OnFull,
}

impl Default for SendQueueConfig {
    fn default() -> Self {
        Self {
            low_bytes: 64 * KIB,
            high_bytes: 256 * KIB,
            max_bytes: 4 * MIB,
            on_full: OnFull::Refuse,
        }
    }
}

impl SendQueueConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let (low, high) = (self.low_bytes, self.high_bytes);
        check_nonzero([("send_queue.high_bytes", high == 0)])?;
        check(low <= high, "send_queue.low_bytes", "is above `high_bytes`")?;
        let ordered = self.max_bytes >= high;
        check(ordered, "send_queue.max_bytes", "is below `high_bytes`")
    }
}

/// The policy for a send that would exceed [`SendQueueConfig::max_bytes`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OnFull {
    /// The send is refused with [`SendError::Full`](crate::SendError::Full).
    Refuse,
    /// The send is refused, and the connection ends with
    /// [`DisconnectReason::SendQueueFull`](crate::DisconnectReason::SendQueueFull).
    /// For protocols in which a peer that cannot keep up is of no use.
    Disconnect,
}
