//! Listeners of the system.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::stream::INHERITS;
use super::{OsStream, SocketOptions};
use crate::config::ListenOptions;
use crate::sys::AcceptError;

/// A non-blocking TCP listener.
#[derive(Debug)]
pub(crate) struct OsListener(pub(super) TcpListener);

impl OsListener {
    pub(crate) fn bind(
        addr: SocketAddr,
        options: &ListenOptions,
        sockets: &SocketOptions,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if let (Some(only), SocketAddr::V6(_)) = (options.v6_only, addr) {
            socket.set_only_v6(only)?;
        }
        // On Windows SO_REUSEADDR would let another process take the port over.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        if options.reuse_port {
            set_reuse_port(&socket)?;
        }
        sockets.set_buffers(SockRef::from(&socket))?;
        if INHERITS {
            sockets.set_others(SockRef::from(&socket))?;
        }
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        socket.set_nonblocking(true)?;
        Ok(Self(TcpListener::from_std(socket.into())))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(crate) fn accept(&self) -> io::Result<(OsStream, SocketAddr)> {
        self.0
            .accept()
            .map(|(stream, addr)| (OsStream(stream), addr))
    }

    /// What an error of [`OsListener::accept`] speaks of.
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
            // EMFILE and ENFILE, for which std has no stable name, have these numbers on every Unix.
            _ if cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24)) => {
                AcceptError::NoDescriptor
            }
            _ => AcceptError::Other,
        }
    }
}

/// A descriptor kept for the time when there is no other: with it, those who wait to be accepted can be told no.
#[derive(Debug, Default)]
pub(crate) struct OsReserve(Option<Socket>);

impl OsReserve {
    /// Takes a descriptor, if there is none in reserve.
    pub(crate) fn fill(&mut self) {
        if self.0.is_none() {
            // Without one the queue is not shed; it waits.
            self.0 = Socket::new(Domain::IPV4, Type::DGRAM, None).ok();
        }
    }

    /// Accepts and closes up to `max` connections with the descriptor in reserve; how many.
    pub(crate) fn shed(&mut self, listener: &OsListener, max: usize) -> usize {
        let mut shed = 0;
        if self.0.take().is_some() {
            while shed < max && listener.accept().is_ok() {
                shed += 1;
            }
        }
        self.fill();
        shed
    }
}

#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos")))))]
fn set_reuse_port(_: &Socket) -> io::Result<()> {
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
    use crate::config::Config;

    #[test]
    fn accepted_connections_have_the_options_of_the_configuration() {
        let config = Config {
            keepalive: Some(Duration::from_secs(77)),
            ..Config::default()
        };
        let sockets = SocketOptions::new(&config);
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = OsListener::bind(any, &ListenOptions::default(), &sockets).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = std::iter::repeat_with(|| listener.accept())
            .take(1_000_000)
            .find_map(Result::ok)
            .unwrap();
        stream.set_up_inbound(&sockets).unwrap();
        let socket = SockRef::from(&stream.0);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(
            socket.tcp_keepalive_time().unwrap(),
            Duration::from_secs(77)
        );
    }
}
