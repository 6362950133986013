//! Keepalive probes.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::check::check;
use crate::error::{ConfigError, UNSUPPORTED};

/// Range of TCP_KEEPIDLE and TCP_KEEPINTVL (Linux, include/net/tcp.h).
const TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32_767);

/// Range of TCP_KEEPCNT (Linux, include/net/tcp.h).
const RETRIES: RangeInclusive<u32> = 1..=127;

/// Whether the idle time of a socket can be set. OpenBSD and Haiku have only
/// SO_KEEPALIVE.
const HAS_IDLE: bool = !cfg!(any(target_os = "openbsd", target_os = "haiku"));

/// Whether the interval and the retries of a socket can be set. `sys` sets them
/// on the same systems.
const HAS_INTERVAL: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios",
    target_os = "tvos",
    target_os = "visionos",
    target_os = "watchos",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "illumos",
    target_os = "windows",
));

/// Probes of the kernel on idle connections (SO_KEEPALIVE of socket(7), RFC
/// 9293, section 3.8.4).
///
/// When nothing was received for `idle`, the kernel sends a probe that the
/// kernel of the peer acknowledges. Without an answer it sends further probes
/// at the `interval`. After `retries` unanswered probes the connection ends
/// with [`DisconnectReason::Io`](crate::DisconnectReason::Io), usually of the
/// kind [`TimedOut`](std::io::ErrorKind::TimedOut). So a peer that is gone is
/// found after `idle + retries * interval`.
///
/// No probe is sent while sent bytes are not acknowledged. Therefore keepalive
/// does not find a peer to which this node keeps sending. Set
/// [`user_timeout`](crate::config::SocketConfig::user_timeout) or
/// [`receive_idle`](crate::config::Timeouts::receive_idle) for that. A peer
/// whose process hangs still answers probes.
///
/// ```
/// use std::time::Duration;
/// use peerloop::Config;
/// use peerloop::config::{Keepalive, SocketConfig};
///
/// // A peer that is gone is found after 30 s + 3 * 10 s.
/// let config = Config {
///     sockets: SocketConfig {
///         keepalive: Some(Keepalive {
///             idle: Some(Duration::from_secs(30)),
///             ..Default::default()
///         }),
///         ..Default::default()
///     },
///     ..Default::default()
/// };
/// assert!(config.validate().is_ok());
/// ```
///
/// A field that is `None` leaves its value to the system. A field that the
/// system cannot set must be `None`; otherwise
/// [`Config::validate`](crate::Config::validate) returns an error. OpenBSD and
/// Haiku can set none of them. Windows sets `idle` and `interval` together, so
/// both or neither must be set. Before version 1703 of Windows 10 it has no
/// `retries`, and a connection for which they are set fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// Time without a received segment after which the first probe is sent
    /// (TCP_KEEPIDLE of tcp(7)), in whole seconds from 1 to 32,767.
    ///
    /// Default: 60 s, or `None` where it cannot be set. The default of most
    /// systems is two hours.
    pub idle: Option<Duration>,
    /// Time between two probes (TCP_KEEPINTVL), in whole seconds from 1 to
    /// 32,767.
    ///
    /// Default: 10 s, or `None` where it cannot be set.
    pub interval: Option<Duration>,
    /// Number of unanswered probes after which the connection ends
    /// (TCP_KEEPCNT), from 1 to 127. If
    /// [`user_timeout`](crate::config::SocketConfig::user_timeout) is set,
    /// Linux uses that time instead.
    ///
    /// Default: 3, or `None` where it cannot be set.
    pub retries: Option<u32>,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            idle: HAS_IDLE.then_some(Duration::from_secs(60)),
            interval: HAS_INTERVAL.then_some(Duration::from_secs(10)),
            retries: HAS_INTERVAL.then_some(3),
        }
    }
}

impl Keepalive {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let fields = [
            ("sockets.keepalive.idle", self.idle, HAS_IDLE),
            ("sockets.keepalive.interval", self.interval, HAS_INTERVAL),
        ];
        for (field, time, is_supported) in fields {
            let problem = "is not between 1 and 32,767 seconds";
            check(time.is_none() || is_supported, field, UNSUPPORTED)?;
            check(time.is_none_or(|time| TIME.contains(&time)), field, problem)?;
        }
        let (field, retries) = ("sockets.keepalive.retries", self.retries);
        check(retries.is_none() || HAS_INTERVAL, field, UNSUPPORTED)?;
        let is_in_range = retries.is_none_or(|retries| RETRIES.contains(&retries));
        check(is_in_range, field, "is not between 1 and 127")?;
        let is_complete = self.idle.is_some() == self.interval.is_some()
            && (retries.is_none() || self.idle.is_some());
        let problem = "needs `idle` and `interval` on Windows";
        check(!cfg!(windows) || is_complete, "sockets.keepalive", problem)
    }
}
