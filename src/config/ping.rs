//! Messages that keep an idle connection alive.

use std::time::Duration;

use bytes::Bytes;

use super::check::check;
use crate::error::ConfigError;
use crate::framing::{Codec, Framing};

/// A message that the loop sends on an open connection when nothing was sent
/// for some time.
///
/// The peer sees that this node is alive, by
/// [`Timeouts::receive_idle`](crate::config::Timeouts::receive_idle) or
/// [`Timeouts::idle`](crate::config::Timeouts::idle). Its handler receives the
/// message like any other, so choose one that your protocol ignores. An answer
/// is not needed if both ends send pings.
///
/// ```
/// use std::time::Duration;
/// use peerloop::config::{ConnectionConfig, Ping, Timeouts};
/// use peerloop::{Bytes, Config};
///
/// // Each node pings after 10 s, and gives a peer up after three such times.
/// let config = Config {
///     connection: ConnectionConfig {
///         ping: Some(Ping {
///             after: Duration::from_secs(10),
///             message: Bytes::from_static(b"ping"),
///         }),
///         timeouts: Timeouts {
///             receive_idle: Some(Duration::from_secs(30)),
///             ..Default::default()
///         },
///         ..Default::default()
///     },
///     ..Default::default()
/// };
/// assert!(config.validate().is_ok());
/// ```
///
/// - A ping counts as a sent message: in
///   [`Traffic`](crate::Traffic), and as activity for `idle` of this
///   node. Therefore `idle` does not end a connection whose pings the kernel
///   takes. Set `receive_idle` to find a peer that is gone.
/// - No ping is sent while bytes are queued, while
///   [`loop_send_bytes`](crate::config::Limits::loop_send_bytes) has no room,
///   before `on_connect`, and after [`Net::close`](crate::Net::close) or
///   [`Net::close_write`](crate::Net::close_write). A skipped ping causes no
///   [`on_drain`](crate::Handler::on_drain).
/// - Pings are sent while the connection is paused, and after the peer has
///   closed its sending side. They pass through the session.
/// - [`Metrics::pings_sent`](crate::Metrics::pings_sent) counts them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ping {
    /// Time since the kernel took the last byte, or since the connection
    /// opened, after which the message is sent. Not zero. A third of the
    /// `receive_idle` of the peer or less, so that one lost segment does not
    /// end the connection.
    ///
    /// Default: 20 s, a third of the default of
    /// [`idle`](crate::config::Timeouts::idle).
    pub after: Duration,
    /// The message. Its length is limited by
    /// [`max_message_len`](crate::config::ConnectionConfig::max_message_len),
    /// and the framing must be able to represent it.
    /// [`Net::set_max_message_len`](crate::Net::set_max_message_len) and
    /// [`Net::set_framing`](crate::Net::set_framing) check that too. With a
    /// custom framing it is not checked, and a ping that its framer refuses is
    /// not sent.
    ///
    /// Default: empty. With a length prefix or a delimiter, the peer receives
    /// an empty message.
    pub message: Bytes,
}

impl Default for Ping {
    fn default() -> Self {
        Self {
            after: Duration::from_secs(20),
            message: Bytes::new(),
        }
    }
}

impl Ping {
    pub(super) fn validate(&self, framing: &Framing, max: usize) -> Result<(), ConfigError> {
        check(!self.after.is_zero(), "ping.after", "must not be zero")?;
        let is_short = self.message.len() <= max;
        check(is_short, "ping.message", "is longer than `max_message_len`")?;
        // A framer would be made by a function of the program.
        if let Framing::Custom(_) = framing {
            return Ok(());
        }
        let codec = Codec::new(framing);
        let header = codec.header(self.message.len(), max);
        let is_framable = header.is_ok() && codec.check_body(&self.message).is_ok();
        check(is_framable, "ping.message", "cannot be framed")
    }
}
