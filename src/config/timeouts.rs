//! Timeouts of a connection.

use std::time::Duration;

use super::check::check;
use crate::error::ConfigError;

/// Minimum rates of a connection.
///
/// A rate is the average since the message began or since the queue was last
/// empty. A connection below a minimum ends with
/// [`TimeoutKind::ReceiveRate`](crate::error::TimeoutKind::ReceiveRate) or
/// [`TimeoutKind::SendRate`](crate::error::TimeoutKind::SendRate).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MinRate {
    /// Minimum rate at which a message arrives, in bytes per second. It is
    /// checked while a message is incomplete and this node has not paused the
    /// connection. It does not apply to an idle connection. `None` disables it.
    ///
    /// Default: 16 KiB per second. At this rate a message of 8 MiB, the default
    /// maximum, takes 512 s.
    pub receive_bytes_per_second: Option<u32>,
    /// Minimum rate at which the kernel accepts queued bytes, in bytes per
    /// second. `None` disables it.
    ///
    /// Default: `None`, because the memory of the queues is limited, and a peer
    /// may have a slow link.
    pub send_bytes_per_second: Option<u32>,
    /// Time after which the rates are checked. Not zero.
    ///
    /// Default: 10 s.
    pub after: Duration,
}

impl Default for MinRate {
    fn default() -> Self {
        Self {
            receive_bytes_per_second: Some(16 * 1024),
            send_bytes_per_second: None,
            after: Duration::from_secs(10),
        }
    }
}

impl MinRate {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let zero = "must not be zero; `None` disables it";
        let (receive, send) = (self.receive_bytes_per_second, self.send_bytes_per_second);
        check(
            receive != Some(0),
            "min_rate.receive_bytes_per_second",
            zero,
        )?;
        check(send != Some(0), "min_rate.send_bytes_per_second", zero)?;
        check(!self.after.is_zero(), "min_rate.after", "must not be zero")
    }
}

/// Timeouts of a connection. `None` disables a timeout.
///
/// A timeout sends no message before it ends the connection. To send messages
/// in time, so that neither end times out, set
/// [`ping`](crate::config::ConnectionConfig::ping). The
/// [guide on endings](crate::guide::endings) says what the peer sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Maximum time from the start of a connect to an established TCP
    /// connection. The connect starts at the end of the turn in which it was
    /// requested, or later because of
    /// [`ConnectOptions::delay`](crate::ConnectOptions::delay) or
    /// [`connect_retry_rate`](crate::config::Limits::connect_retry_rate).
    ///
    /// Default: 5 s.
    pub connect: Option<Duration>,
    /// Maximum time from an established TCP connection to the end of the
    /// session's handshake. It does not apply to connections without a session.
    /// It is also the maximum time from the accept to the end of a [PROXY
    /// header](crate::ListenOptions::proxy_protocol).
    ///
    /// Default: 5 s.
    pub handshake: Option<Duration>,
    /// Maximum time without a message in either direction. The time starts
    /// again when a message is completely received, and when the kernel takes
    /// the last queued byte. So a peer that receives messages and sends none is
    /// not idle. The timeout does not run
    /// - while this node has paused the connection, or does not read it because
    ///   of its [rate](crate::config::RateLimits);
    /// - while bytes are queued;
    /// - while a received message or a record of the session is incomplete, if
    ///   [`MinRate::receive_bytes_per_second`] is set, which limits that time.
    ///
    /// Default: 60 s.
    pub idle: Option<Duration>,
    /// Maximum time without a byte from the peer on an open connection,
    /// whatever this node sends. It finds a peer that is gone although this
    /// node keeps sending, which restarts `idle`. Any byte restarts the time,
    /// also one of an incomplete message or of a record of the session, because
    /// it shows that the peer is alive. Use
    /// [`MinRate::receive_bytes_per_second`] against peers that send slowly.
    ///
    /// The timeout does not run
    /// - while this node has paused the connection, or does not read it because
    ///   of its [rate](crate::config::RateLimits). It starts again when the node
    ///   reads again;
    /// - while bytes of the peer wait in the socket because this node does not
    ///   read them;
    /// - after the peer has closed its sending side, if
    ///   [`allow_half_open`](crate::config::ConnectionConfig::allow_half_open)
    ///   is set.
    ///
    /// The peer must send something within this time. With
    /// [`Ping`](crate::config::Ping) at the peer, it does. The guide
    /// [`open_internet`](crate::guide::open_internet) has the recommended
    /// settings.
    ///
    /// Default: `None`, because a peer may have nothing to send.
    pub receive_idle: Option<Duration>,
    /// Maximum time without a further byte of an incomplete message, or of an
    /// incomplete record of the session. Time during which this node has paused
    /// the connection, or does not read it because of its
    /// [rate](crate::config::RateLimits), does not count.
    ///
    /// [`MinRate`] may end the connection earlier. By default this happens when
    /// a message is still incomplete after 10 s and less than 160 KiB of it has
    /// arrived. The reason is
    /// [`TimeoutKind::ReceiveRate`](crate::error::TimeoutKind::ReceiveRate).
    ///
    /// Default: 30 s.
    pub partial_message: Option<Duration>,
    /// Maximum time during which the kernel accepts no byte although there are
    /// bytes to write. Time during which this node does not write because of the
    /// [rate](crate::config::RateLimits) does not count. The timeout also
    /// applies while this node has paused the connection. If the peer may pause
    /// the connection for longer, set a longer time on this node, or `None`.
    ///
    /// Default: 60 s.
    pub write_stall: Option<Duration>,
    /// Maximum time without progress after [`Net::close`](crate::Net::close), or
    /// after the peer's end of stream unless
    /// [`allow_half_open`](crate::config::ConnectionConfig::allow_half_open) is
    /// set. While bytes are queued, each byte that the kernel takes restarts the
    /// time. After the last byte, the node waits this long for the FIN of the
    /// peer.
    ///
    /// A peer that reads gets all queued bytes, however long that takes, unless
    /// [`MinRate::send_bytes_per_second`] or the grace of a
    /// [shutdown](crate::Net::shutdown) ends the connection. If bytes are left
    /// after this time, the connection is reset, and the reason is
    /// [`TimeoutKind::Linger`](crate::error::TimeoutKind::Linger). Otherwise
    /// the reason is `Local` after `close`, `PeerClosed` after the FIN of the
    /// peer, and `Shutdown` after a shutdown.
    ///
    /// Default: 5 s.
    pub linger: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        Self {
            connect: seconds(5),
            handshake: seconds(5),
            idle: seconds(60),
            receive_idle: None,
            partial_message: seconds(30),
            write_stall: seconds(60),
            linger: seconds(5),
        }
    }
}

impl Timeouts {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let all = [
            ("timeouts.connect", self.connect),
            ("timeouts.handshake", self.handshake),
            ("timeouts.idle", self.idle),
            ("timeouts.receive_idle", self.receive_idle),
            ("timeouts.partial_message", self.partial_message),
            ("timeouts.write_stall", self.write_stall),
            ("timeouts.linger", self.linger),
        ];
        all.into_iter().try_for_each(|(field, timeout)| {
            let problem = "must not be zero; `None` disables it";
            check(timeout != Some(Duration::ZERO), field, problem)
        })
    }
}
