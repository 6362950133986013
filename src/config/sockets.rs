//! Socket options.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::check::{check, check_nonzero};
use crate::error::{ConfigError, UNSUPPORTED};

mod keepalive;

pub use keepalive::Keepalive;

/// Range of TCP_USER_TIMEOUT. Linux takes milliseconds as an `int` and refuses
/// negative ones (net/ipv4/tcp.c). Zero is the default of the system.
const USER_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_millis(i32::MAX as u64);

/// Whether the system has TCP_USER_TIMEOUT. `sys` sets it on the same systems.
const HAS_USER_TIMEOUT: bool = cfg!(any(target_os = "linux", target_os = "android"));

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
    /// Probes of the kernel on idle connections (SO_KEEPALIVE). `None` does not
    /// set the option.
    ///
    /// Default: `None`.
    pub keepalive: Option<Keepalive>,
    /// Maximum time during which the peer does not acknowledge bytes that the
    /// kernel has sent, or does not open its window (TCP_USER_TIMEOUT of
    /// tcp(7), RFC 5482). In milliseconds, from 1 to 2^31 - 1. A fraction of a
    /// millisecond is dropped.
    ///
    /// The connection ends with
    /// [`DisconnectReason::Io`](crate::DisconnectReason::Io), of the kind
    /// [`TimedOut`](std::io::ErrorKind::TimedOut), or with the error that the
    /// network has reported, such as
    /// [`HostUnreachable`](std::io::ErrorKind::HostUnreachable). While nothing
    /// is sent, the time runs only for the probes of `keepalive`, whose
    /// `retries` it replaces.
    ///
    /// The peer may be alive and read nothing. Its kernel closes the window
    /// then, and Linux counts that as well. Set a longer time than the pauses
    /// of the peer.
    ///
    /// Only Linux and Android have the option. On other systems
    /// [`Config::validate`](crate::Config::validate) refuses it. It has no
    /// effect in the simulator.
    ///
    /// Default: `None`. Linux then gives up after about 15 minutes
    /// (tcp_retries2 of tcp(7)).
    pub user_timeout: Option<Duration>,
    /// Value of SO_SNDBUF, in bytes. Not zero.
    ///
    /// Default: `None`, which leaves the size to the operating system. Linux then
    /// grows it up to the maximum of `tcp_wmem`, 4 MiB by default (tcp(7)). A
    /// thousand peers that do not read can thus hold gigabytes of kernel memory,
    /// and beyond `tcp_mem` the kernel slows down all TCP sockets of the host. A
    /// node with many untrusted peers sets a size.
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
            user_timeout: None,
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
        if let Some(keepalive) = &self.keepalive {
            keepalive.validate()?;
        }
        let Some(time) = self.user_timeout else {
            return Ok(());
        };
        let field = "sockets.user_timeout";
        check(HAS_USER_TIMEOUT, field, UNSUPPORTED)?;
        let problem = "is not between 1 and 2^31 - 1 milliseconds";
        check(USER_TIMEOUT.contains(&time), field, problem)
    }
}
