//! Rate limits.

use super::check::check;
use crate::error::ConfigError;

/// A rate with a burst, as a token bucket.
///
/// The bucket is full at first. It holds `burst` tokens and gains `per_second`
/// tokens per second. Each byte, message or attempt takes one token; the fields
/// of this type say which. Therefore at most `burst + per_second * t` of them
/// pass in the first `t` seconds. In `t` seconds that begin later,
/// `per_second / 50` more can pass, and at least one more, because a bucket that
/// is waited for can hold the tokens of a further 20 ms.
///
/// ```
/// use peerloop::config::Rate;
///
/// // 100 at once, and after that one every 50 ms.
/// let rate = Rate { per_second: 20, burst: 100 };
/// # let _ = rate;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate {
    /// Number of tokens per second. Not zero.
    pub per_second: u32,
    /// Maximum number of tokens. Not zero.
    ///
    /// A loop can be late by a millisecond or by a long turn. So that a
    /// connection that waits for tokens still reaches the rate, the bucket can
    /// hold the tokens of 20 ms more while it waits, or one token if that is
    /// more. It never holds more than twice the burst.
    pub burst: u32,
}

impl Rate {
    fn is_valid(self) -> bool {
        self.per_second > 0 && self.burst > 0
    }

    pub(super) fn validate(self, field: &'static str) -> Result<(), ConfigError> {
        let problem = "`per_second` and `burst` must not be zero";
        check(self.is_valid(), field, problem)
    }
}

/// Limits on the traffic of one connection, or of all connections with one
/// address.
///
/// [`ConnectionConfig::rate`](crate::config::ConnectionConfig::rate) and
/// [`Net::set_rate`](crate::Net::set_rate) limit one connection.
/// [`Limits::rate_per_address`](crate::config::Limits::rate_per_address) limits
/// the connections of an address together. If both limit the same traffic, the
/// stricter one holds.
///
/// The limits apply to open and closing connections, and not to handshakes.
/// Bytes are counted on the wire, with the framing and the overhead of a session.
/// Data that arrives while a connection closes is discarded and not limited.
///
/// # Slowing down
///
/// - A message or byte that is received takes its token when it is read. When
///   tokens are missing, the socket is not read, so TCP flow control stops the
///   peer. Messages that were already read wait. A connection with a limit on
///   messages is read in parts of at most 16 KiB.
/// - When tokens for sending are missing, messages stay in the send queue, up
///   to its limits. A message that is longer than the burst of a limit on bytes
///   is sent and received in parts. Parts of it may leave while the rest waits.
/// - The connection continues when the tokens of 20 ms are there, or one token,
///   or the burst if that is less. For sending, tokens for all that is queued
///   are enough. So a limited connection wakes the loop at most 50 times per
///   second, unless the burst is smaller.
/// - Connections that wait for tokens of one address continue in the order in
///   which they began to wait.
/// - Messages that arrived before the end of a connection are delivered at the
///   rate too, and then the end is reported. Until then the connection keeps its
///   places, although the peer is gone. To end it earlier, call
///   [`Net::abort`](crate::Net::abort).
/// - While this node holds the peer back, no timeout of this node runs that
///   ends a connection for what the peer does not send or read: `idle`,
///   `receive_idle`, `partial_message`, `write_stall`, `linger` and
///   [`MinRate`](crate::config::MinRate). They begin again afterwards. The
///   `write_stall` of the peer applies, as for [`Net::pause`](crate::Net::pause).
///
/// ```
/// use peerloop::Config;
/// use peerloop::config::{ConnectionConfig, Rate, RateLimits};
///
/// let config = Config {
///     connection: ConnectionConfig {
///         rate: RateLimits {
///             receive_messages: Some(Rate { per_second: 50, burst: 100 }),
///             send_bytes: Some(Rate { per_second: 1 << 20, burst: 1 << 18 }),
///             ..Default::default()
///         },
///         ..Default::default()
///     },
///     ..Default::default()
/// };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RateLimits {
    /// Maximum rate of received bytes.
    ///
    /// Default: `None`, which means no limit.
    pub receive_bytes: Option<Rate>,
    /// Maximum rate of received messages. With
    /// [`Framing::Raw`](crate::framing::Framing::Raw), each call of
    /// [`on_message`](crate::Handler::on_message) counts.
    ///
    /// Default: `None`, which means no limit.
    pub receive_messages: Option<Rate>,
    /// Maximum rate of bytes that are passed to the kernel.
    ///
    /// Default: `None`, which means no limit.
    pub send_bytes: Option<Rate>,
    /// Maximum rate of messages that are passed to the kernel. A message takes
    /// its token with its first byte.
    ///
    /// The lengths of queued messages are stored, in eight bytes for each
    /// message or less. This memory is not counted for
    /// [`loop_send_bytes`](crate::config::Limits::loop_send_bytes).
    ///
    /// Default: `None`, which means no limit.
    pub send_messages: Option<Rate>,
    /// Policy for a peer that sends more than `receive_bytes` or
    /// `receive_messages` allow. Sending always waits.
    ///
    /// Default: [`OnExcess::SlowDown`].
    pub on_excess: OnExcess,
}

impl RateLimits {
    /// Checks the rates. `fields` are the names of the four rates, in the order
    /// of their declaration.
    pub(super) fn validate(&self, fields: [&'static str; 4]) -> Result<(), ConfigError> {
        let rates = [
            self.receive_bytes,
            self.receive_messages,
            self.send_bytes,
            self.send_messages,
        ];
        let set = rates.into_iter().zip(fields);
        set.filter_map(|(rate, field)| Some((rate?, field)))
            .try_for_each(|(rate, field)| rate.validate(field))
    }

    /// Checks the rates of a connection.
    pub(crate) fn validate_connection(&self) -> Result<(), ConfigError> {
        self.validate([
            "rate.receive_bytes",
            "rate.receive_messages",
            "rate.send_bytes",
            "rate.send_messages",
        ])
    }

    pub(crate) fn limits_receiving(&self) -> bool {
        self.receive_bytes.is_some() || self.receive_messages.is_some()
    }

    pub(crate) fn limits_sending(&self) -> bool {
        self.send_bytes.is_some() || self.send_messages.is_some()
    }

    pub(crate) fn limits_anything(&self) -> bool {
        self.limits_receiving() || self.limits_sending()
    }
}

/// Policy for a peer that sends more than a limit of [`RateLimits`] allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OnExcess {
    /// Reads more slowly, so that TCP flow control stops the peer.
    #[default]
    SlowDown,
    /// Ends the connection with
    /// [`DisconnectReason::ReceiveRateExceeded`](crate::DisconnectReason::ReceiveRateExceeded).
    /// Use it for protocols with an agreed rate. The burst must have room for
    /// what a correct peer sends at once, for example a message of the maximum
    /// length.
    ///
    /// A message or byte takes its token when it is read, so the clock of this
    /// node counts. The time in which this node leaves input unread, because
    /// of a [pause](crate::Net::pause) or of a
    /// [budget](crate::config::TurnBudget), adds its tokens even beyond the
    /// burst, because the peer may have sent at the rate meanwhile. For the
    /// rate of an address, this holds for the connection that was left unread
    /// only until another connection of the address is read.
    ///
    /// The message with which the peer exceeds the rate may be delivered
    /// before the end, and none after it.
    Disconnect,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_rate_is_refused_with_its_field() {
        let zero = [(0, 1), (1, 0), (0, 0)];
        for (per_second, burst) in zero {
            let limits = RateLimits {
                send_messages: Some(Rate { per_second, burst }),
                ..RateLimits::default()
            };
            let error = limits.validate_connection().unwrap_err();
            assert_eq!(error.field, "rate.send_messages");
        }
        let most = Rate {
            per_second: u32::MAX,
            burst: u32::MAX,
        };
        let limits = RateLimits {
            receive_bytes: Some(most),
            ..RateLimits::default()
        };
        assert!(limits.validate_connection().is_ok());
    }
}
