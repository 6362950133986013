//! Socket options that find peers that are gone.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::config::Keepalive;

/// Sets SO_KEEPALIVE, and the values that are not left to the system.
/// `Keepalive::validate` has refused values that the system cannot set.
pub(super) fn set_keepalive(socket: &SockRef<'_>, keepalive: &Keepalive) -> io::Result<()> {
    if *keepalive == SYSTEM {
        // On Windows the other call would set times of zero.
        return socket.set_keepalive(true);
    }
    let mut options = TcpKeepalive::new();
    if let Some(idle) = keepalive.idle {
        options = options.with_time(idle);
    }
    // The systems of `HAS_INTERVAL` in `config`.
    #[cfg(any(
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
    ))]
    {
        if let Some(interval) = keepalive.interval {
            options = options.with_interval(interval);
        }
        if let Some(retries) = keepalive.retries {
            options = options.with_retries(retries);
        }
    }
    socket.set_tcp_keepalive(&options)
}

/// The values of the system.
const SYSTEM: Keepalive = Keepalive {
    idle: None,
    interval: None,
    retries: None,
};

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn set_user_timeout(socket: &SockRef<'_>, time: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(time))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn set_user_timeout(_: &SockRef<'_>, _: Duration) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
