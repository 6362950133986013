//! Socket options.

use std::time::Duration;

use super::check::{check, check_nonzero};
use crate::error::ConfigError;

/// Range of TCP_KEEPIDLE in whole seconds (Linux, tcp(7); MAX_TCP_KEEPIDLE).
const KEEPALIVE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(32_767);

/// Options of the sockets of connections.
///
/// `send_buffer_bytes` and `receive_buffer_bytes` are set on sockets that the
/// library opens, because they must be set before a connection is established.
/// They are not set on sockets given to
/// [`Net::listen_on`](crate::Net::listen_on), [`Net::adopt`](crate::Net::adopt)
/// and [`ConnectOptions::bound_socket`](crate::ConnectOptions::bound_socket).
/// The other options are set on the sockets of all connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketConfig {
    /// Whether to set TCP_NODELAY.
    ///
    /// Default: true, because the loop already combines the messages of a turn
    /// into one write.
    pub nodelay: bool,
    /// Idle time of SO_KEEPALIVE, in whole seconds from 1 to 32,767. `None`
    /// does not set the option.
    ///
    /// Default: `None`.
    pub keepalive: Option<Duration>,
    /// Value of SO_SNDBUF, in bytes. Not zero.
    ///
    /// Default: `None`, which leaves the size to the operating system.
    pub send_buffer_bytes: Option<usize>,
    /// Value of SO_RCVBUF, in bytes. Not zero.
    ///
    /// Default: `None`, which leaves the size to the operating system.
    pub receive_buffer_bytes: Option<usize>,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: None,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
        }
    }
}

impl SocketConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let (send, receive) = (self.send_buffer_bytes, self.receive_buffer_bytes);
        check_nonzero([
            ("sockets.send_buffer_bytes", send == Some(0)),
            ("sockets.receive_buffer_bytes", receive == Some(0)),
        ])?;
        let in_range = self.keepalive.is_none_or(|time| KEEPALIVE.contains(&time));
        let problem = "is not between 1 and 32,767 seconds";
        check(in_range, "sockets.keepalive", problem)
    }
}
