//! Socket options.

use std::time::Duration;

use super::check::{check, check_nonzero};
use crate::error::ConfigError;

/// The range of TCP_KEEPIDLE (Linux, tcp(7): whole seconds, MAX_TCP_KEEPIDLE).
const KEEPALIVE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(32_767);

/// Options of the sockets of connections.
///
/// The sizes of the buffers matter before a connection is established. They are
/// set on sockets that the library opens, not on those of
/// [`Net::listen_on`](crate::Net::listen_on), [`Net::adopt`](crate::Net::adopt)
/// and [`ConnectOptions::bound_socket`](crate::ConnectOptions::bound_socket).
/// The other options are set on the socket of every connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketConfig {
    /// Sets TCP_NODELAY.
    ///
    /// Default: true, because messages are gathered into one write per turn
    /// already.
    pub nodelay: bool,
    /// Sets SO_KEEPALIVE with this idle time, in whole seconds from 1 to
    /// 32,767.
    ///
    /// Default: `None`, off.
    pub keepalive: Option<Duration>,
    /// Sets SO_SNDBUF, in bytes.
    ///
    /// Default: `None`, the tuning of the operating system.
    pub send_buffer_bytes: Option<usize>,
    /// Sets SO_RCVBUF, in bytes.
    ///
    /// Default: `None`, the tuning of the operating system.
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
