//! Settings of a connection.

use std::time::Duration;

use super::check::{KIB, MIB, check, check_nonzero};
use super::ping::Ping;
use super::rates::RateLimits;
use super::timeouts::{MinRate, Timeouts};
use crate::error::ConfigError;
use crate::framing::Framing;

/// Settings of a connection.
///
/// [`Config::connection`](crate::Config::connection) holds the settings of the
/// node. A listener and an outbound connection start from a copy of them, and
/// change it with
/// [`ListenOptions::connection_mut`](crate::config::ListenOptions::connection_mut)
/// and
/// [`ConnectOptions::connection_mut`](crate::config::ConnectOptions::connection_mut).
/// [`Connection::config`](crate::Connection::config) returns the present settings
/// of a connection.
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
    /// Separation of messages on the wire. Both ends must use the same framing.
    ///
    /// Default: a 4-byte big-endian length, as in tokio-util's
    /// `LengthDelimitedCodec`.
    pub framing: Framing,
    /// Maximum length of a message in bytes, in both directions.
    ///
    /// The length of the body counts. For a custom framing, the number of bytes
    /// that [`Framer::decode`](crate::framing::Framer::decode) consumes counts.
    /// A longer message from the peer ends the connection with
    /// [`DisconnectReason::MessageTooLarge`](crate::DisconnectReason::MessageTooLarge).
    /// With a length prefix, this happens as soon as the header has arrived,
    /// before memory is allocated for the message. A longer message of this
    /// node is refused with
    /// [`SendError::TooLarge`](crate::SendError::TooLarge).
    ///
    /// [`Net::set_max_message_len`](crate::Net::set_max_message_len) changes it
    /// during a connection.
    ///
    /// Default: 8 MiB, as in tokio-util. At most half of `isize::MAX`.
    pub max_message_len: usize,
    /// Policy for queued messages when the peer sends a malformed frame or a
    /// message that is too long.
    ///
    /// Default: [`OnFramingError::Abort`].
    pub on_framing_error: OnFramingError,
    /// Timeouts of the connection. [`Net::set_timeouts`](crate::Net::set_timeouts)
    /// changes them during a connection.
    ///
    /// Default: `Timeouts::default()`.
    pub timeouts: Timeouts,
    /// Minimum rates of receiving and sending.
    ///
    /// Default: `MinRate::default()`.
    pub min_rate: MinRate,
    /// Maximum rates of receiving and sending.
    /// [`Net::set_rate`](crate::Net::set_rate) changes them. The recipe [a rate
    /// limit](crate::guide::recipes#a-rate-limit) uses both.
    ///
    /// Default: `RateLimits::default()`, which limits nothing.
    pub rate: RateLimits,
    /// A message that is sent when nothing was sent for some time.
    ///
    /// Default: `None`.
    pub ping: Option<Ping>,
    /// Watermarks and maximum of the send queue.
    ///
    /// Default: `SendQueueConfig::default()`.
    pub send_queue: SendQueueConfig,
    /// Whether the connection stays open when the peer closes its sending side.
    ///
    /// If true, [`Handler::on_read_closed`](crate::Handler::on_read_closed) is
    /// called, and this node can send until it closes the connection.
    ///
    /// If false, messages that are queued at that time are sent, and the
    /// connection ends. Later sends, for example from another thread, are
    /// refused with [`SendError::Closed`](crate::SendError::Closed).
    ///
    /// Default: false.
    pub allow_half_open: bool,
    /// Whether the handler must return a session for each connection.
    ///
    /// If true, [`Transport::Plain`](crate::Transport::Plain) from
    /// [`Handler::transport`](crate::Handler::transport) ends the connection
    /// with [`ConnectError::Transport`](crate::ConnectError::Transport).
    /// Therefore a handler that does not implement or forward that method sends
    /// nothing in plaintext. A session that becomes
    /// [`Stage::Transparent`](crate::session::Stage::Transparent) is accepted,
    /// although it does not encrypt.
    ///
    /// This setting does not change how the handshake fails with a *peer* that
    /// has no session. The error is
    /// - [`SessionError::Malformed`](crate::error::SessionError::Malformed) if
    ///   the peer sends something else;
    /// - [`ConnectError::HandshakeTimedOut`](crate::ConnectError::HandshakeTimedOut)
    ///   if the peer sends nothing;
    /// - [`ConnectError::Io`](crate::ConnectError::Io) if the peer closes the
    ///   connection.
    ///
    /// Default: false.
    pub require_session: bool,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            framing: Framing::default(),
            max_message_len: 8 * MIB,
            on_framing_error: OnFramingError::Abort,
            timeouts: Timeouts::default(),
            min_rate: MinRate::default(),
            rate: RateLimits::default(),
            ping: None,
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
        check(fits, "max_message_len", "is more than half of `isize::MAX`")?;
        if let Framing::Fixed(len) = self.framing {
            check(len > 0, "framing", "must not be `Fixed(0)`")?;
            check(len <= max, "framing", "is longer than `max_message_len`")?;
        }
        if let Some(ping) = &self.ping {
            ping.validate(&self.framing, max)?;
        }
        self.send_queue.validate()?;
        self.min_rate.validate()?;
        self.rate.validate_connection()?;
        self.timeouts.validate()
    }

    /// Returns the minimum time from the first byte of an incomplete message,
    /// or from a later byte of it, to one of its timeouts.
    pub(crate) fn partial_timeout_min(&self) -> Option<Duration> {
        let MinRate {
            receive_bytes_per_second: rate,
            after,
            ..
        } = self.min_rate;
        let all = [self.timeouts.partial_message, rate.and(Some(after))];
        all.into_iter().flatten().min()
    }

    /// Returns the minimum time from a write that leaves bytes in the queue to
    /// one of the timeouts of writing.
    pub(crate) fn write_timeout_min(&self) -> Option<Duration> {
        let MinRate {
            send_bytes_per_second: rate,
            after,
            ..
        } = self.min_rate;
        let all = [self.timeouts.write_stall, rate.and(Some(after))];
        all.into_iter().flatten().min()
    }
}

/// Policy for queued messages when the peer sends a malformed frame or a message
/// longer than [`ConnectionConfig::max_message_len`].
///
/// The frames before it are delivered, and nothing after it is. With both
/// policies, the reason is
/// [`DisconnectReason::MalformedFrame`](crate::DisconnectReason::MalformedFrame)
/// or
/// [`DisconnectReason::MessageTooLarge`](crate::DisconnectReason::MessageTooLarge).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OnFramingError {
    /// Ends the connection at once. Queued messages are dropped, among them the
    /// answers to the frames that were received together with the malformed
    /// one. If there are any, the peer receives a reset.
    Abort,
    /// Closes the connection as [`Net::close`](crate::Net::close) does: sends
    /// the queued messages and FIN, and then waits for the end of the peer's
    /// stream.
    ///
    /// Use it for protocols in which an error must be answered, for example
    /// HTTP. Such a peer keeps its place among the connections until it has
    /// closed its side or made no progress for
    /// [`Timeouts::linger`]. Its further input is read and discarded.
    ///
    /// [`Handler::on_disconnect`](crate::Handler::on_disconnect) is called when
    /// the connection has ended. Its reason is that of the framing error, even
    /// if queued messages could not be sent.
    Close,
}

/// Watermarks and maximum of the send queue of one connection.
///
/// Queued bytes include the framing and the overhead of the queue's lists. The
/// memory of all queues of a loop is limited by
/// [`loop_send_bytes`](crate::config::Limits::loop_send_bytes), which may
/// refuse a send earlier: a single queue reaches three eighths of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendQueueConfig {
    /// Number of queued bytes at or below which
    /// [`Handler::on_drain`](crate::Handler::on_drain) is called, if the queue
    /// had reached `high_bytes`. At most `high_bytes`.
    ///
    /// Default: 64 KiB, so that the socket has data to send while the handler
    /// refills the queue.
    pub low_bytes: usize,
    /// Number of queued bytes at or above which
    /// [`Net::is_writable`](crate::Net::is_writable) returns false. When the
    /// queue has fallen to `low_bytes` again,
    /// [`Handler::on_drain`](crate::Handler::on_drain) is called once. Not
    /// zero.
    ///
    /// Default: 256 KiB. The default of
    /// [`TurnBudget::write_bytes`](crate::config::TurnBudget::write_bytes) is
    /// larger by one message of 32 KiB, with which a queue exceeds `high_bytes`.
    pub high_bytes: usize,
    /// Maximum number of queued bytes. A send that would exceed it is refused
    /// with [`SendError::Full`](crate::SendError::Full).
    ///
    /// An empty queue accepts a message of any length for which
    /// [`loop_send_bytes`](crate::config::Limits::loop_send_bytes) has room. At
    /// least `high_bytes`.
    ///
    /// Default: 4 MiB.
    pub max_bytes: usize,
    /// Policy for a send that would exceed `max_bytes`.
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

/// Policy for a send that would exceed [`SendQueueConfig::max_bytes`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OnFull {
    /// Refuses the send with [`SendError::Full`](crate::SendError::Full).
    Refuse,
    /// Refuses the send with [`SendError::Full`](crate::SendError::Full), and
    /// ends the connection with
    /// [`DisconnectReason::SendQueueFull`](crate::DisconnectReason::SendQueueFull).
    /// Use it for protocols in which a peer that reads too slowly is useless.
    Disconnect,
}
