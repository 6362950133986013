//! TCP listeners of the operating system.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpListener;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::facts::{ACCEPTED_HAS_ADDRESS, ACCEPTED_INHERITS};
use super::{OsStream, SocketOptions};
use crate::addr::to_canonical;
use crate::config::ListenOptions;
use crate::sys::AcceptError;

/// A non-blocking TCP listener.
#[derive(Debug)]
pub(crate) struct OsListener {
    pub(super) socket: TcpListener,
    /// Whether accepted connections inherit the options.
    passes_options_on: bool,
    /// The local address of every accepted connection, if it is known.
    accepts_on: Option<SocketAddr>,
}

impl OsListener {
    pub(crate) fn bind(
        addr: SocketAddr,
        options: &ListenOptions,
        sockets: &SocketOptions,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(options.v6_only)?;
        }
        // On Windows SO_REUSEADDR would let another process bind the same port.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        if options.reuse_port {
            set_reuse_port(&socket)?;
        }
        sockets.set_buffers(SockRef::from(&socket))?;
        if ACCEPTED_INHERITS {
            sockets.set_others(SockRef::from(&socket))?;
        }
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket.into());
        let accepts_on = socket.local_addr().ok().filter(is_one_address);
        Ok(Self {
            socket,
            passes_options_on: ACCEPTED_INHERITS,
            accepts_on: accepts_on.filter(|_| ACCEPTED_HAS_ADDRESS),
        })
    }

    /// Adopts a listening socket. Connections may wait in it already, and they
    /// have inherited other options. With IP_TRANSPARENT (ip(7)) it accepts
    /// connections to other addresses than its own.
    pub(crate) fn adopt(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            socket: TcpListener::from_std(listener),
            passes_options_on: false,
            accepts_on: None,
        })
    }

    /// Returns whether the options of an accepted connection are set already.
    pub(crate) fn passes_options_on(&self) -> bool {
        self.passes_options_on
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Returns the local address of every accepted connection, if it is known
    /// without a call.
    pub(crate) fn accepts_on(&self) -> Option<SocketAddr> {
        self.accepts_on
    }

    pub(crate) fn accept(&self) -> io::Result<(OsStream, SocketAddr)> {
        self.socket
            .accept()
            .map(|(stream, addr)| (OsStream::accepted(stream), addr))
    }

    /// Returns the cause of an error of [`OsListener::accept`].
    pub(crate) fn classify(error: &io::Error) -> AcceptError {
        use io::ErrorKind;
        match error.kind() {
            ErrorKind::WouldBlock => AcceptError::Empty,
            ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::TimedOut
            | ErrorKind::PermissionDenied => AcceptError::OneConnection,
            _ if is_out_of_descriptors(error) => AcceptError::NoDescriptor,
            _ if is_network_error(error) => AcceptError::OneConnection,
            _ => AcceptError::Other,
        }
    }
}

/// Returns whether a listener that is bound to this address accepts
/// connections to this address only. A link-local IPv6 address counts as
/// several, because each interface may have it.
fn is_one_address(bound: &SocketAddr) -> bool {
    // `::ffff:0.0.0.0` stands for all IPv4 addresses.
    match to_canonical(*bound).ip() {
        IpAddr::V4(ip) => !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_unicast_link_local(),
    }
}

/// Returns whether the process or the system has no file descriptor left. std
/// has no stable name for this error.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    #[cfg(unix)]
    return matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

/// Returns whether the error is a network error of the new socket without a
/// stable [`io::ErrorKind`]. accept(2), "Error handling", documents that
/// programs treat such errors like no connection.
fn is_network_error(error: &io::Error) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if error.raw_os_error() == Some(libc::ENONET) {
        return true;
    }
    #[cfg(unix)]
    return matches!(
        error.raw_os_error(),
        Some(libc::EPROTO | libc::ENOPROTOOPT | libc::EHOSTDOWN | libc::EOPNOTSUPP)
    );
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

/// A descriptor reserved for file-descriptor exhaustion. With it, waiting
/// connections can be accepted and closed.
#[derive(Debug, Default)]
pub(crate) struct OsReserve(Option<Socket>);

impl OsReserve {
    /// Reserves a descriptor unless one is reserved.
    pub(crate) fn fill(&mut self) {
        if self.0.is_none() {
            // If this fails, the connections in the backlog wait.
            self.0 = Socket::new(Domain::IPV4, Type::DGRAM, None).ok();
        }
    }

    /// Accepts and closes at most `max` connections with the reserved
    /// descriptor. Returns the number of closed connections.
    pub(crate) fn close_waiting(&mut self, listener: &OsListener, max: usize) -> usize {
        let mut closed = 0;
        if self.0.take().is_some() {
            while closed < max && listener.accept().is_ok() {
                closed += 1;
            }
        }
        self.fill();
        closed
    }
}

#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
pub(super) fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos")))))]
pub(super) fn set_reuse_port(_: &Socket) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "SO_REUSEPORT is not available here",
    ))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, ConnectionConfig, Keepalive, SocketConfig};

    #[cfg(target_os = "linux")]
    #[test]
    fn accept_errors_are_classified_by_cause() {
        let classes = |codes: &[i32]| {
            let errors = codes.iter().copied().map(io::Error::from_raw_os_error);
            errors
                .map(|error| OsListener::classify(&error))
                .collect::<Vec<_>>()
        };
        // Sources: accept(2), "Error handling" and "Errors".
        let next = [
            libc::ENETDOWN,
            libc::EPROTO,
            libc::ENOPROTOOPT,
            libc::EHOSTDOWN,
            libc::ENONET,
            libc::EHOSTUNREACH,
            libc::EOPNOTSUPP,
            libc::ENETUNREACH,
            libc::ECONNABORTED,
            libc::EINTR,
            libc::EPERM,
            libc::ETIMEDOUT,
        ];
        assert_eq!(classes(&next), vec![AcceptError::OneConnection; next.len()]);
        let none = [libc::EMFILE, libc::ENFILE];
        assert_eq!(classes(&none), [AcceptError::NoDescriptor; 2]);
        let others = [libc::ENOBUFS, libc::ENOMEM, libc::EINVAL, libc::EBADF];
        assert_eq!(classes(&others), [AcceptError::Other; 4]);
        assert_eq!(classes(&[libc::EAGAIN]), [AcceptError::Empty]);
    }

    #[test]
    fn accepted_connections_have_the_options() {
        let config = Config {
            sockets: SocketConfig {
                keepalive: Some(Keepalive {
                    idle: Some(Duration::from_secs(77)),
                    ..Default::default()
                }),
                #[cfg(target_os = "linux")]
                user_timeout: Some(Duration::from_millis(12_345)),
                ..Default::default()
            },
            ..Config::default()
        };
        let sockets = SocketOptions::new(&config);
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = OsListener::bind(
            any,
            &ListenOptions::new(std::sync::Arc::new(ConnectionConfig::default())),
            &sockets,
        )
        .unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = std::iter::repeat_with(|| listener.accept())
            .take(1_000_000)
            .find_map(Result::ok)
            .unwrap();
        if !listener.passes_options_on() {
            stream.set_options(&sockets).unwrap();
        }
        let socket = SockRef::from(&stream.socket);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        {
            let time = socket.tcp_keepalive_time().unwrap();
            assert_eq!(time, Duration::from_secs(77));
            let interval = socket.tcp_keepalive_interval().unwrap();
            assert_eq!(interval, Duration::from_secs(10));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
            let time = socket.tcp_user_timeout().unwrap();
            assert_eq!(time, Some(Duration::from_millis(12_345)));
        }
    }

    #[test]
    fn one_address_is_known_before_the_accept() {
        let cases = [
            ("127.0.0.1:1", true),
            ("0.0.0.0:1", false),
            ("[::1]:1", true),
            ("[::]:1", false),
            ("[::ffff:127.0.0.1]:1", true),
            ("[::ffff:0.0.0.0]:1", false),
            ("[fe80::1%2]:1", false),
            ("[fd00::1]:1", true),
        ];
        for (addr, is_one) in cases {
            assert_eq!(is_one_address(&addr.parse().unwrap()), is_one, "{addr}");
        }
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // It may have IP_TRANSPARENT.
        assert_eq!(OsListener::adopt(socket).unwrap().accepts_on(), None);
    }
}
