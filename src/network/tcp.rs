//! TCP through mio.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::bell::Bell;
use super::{AcceptError, EVENTS_MAX, Readiness};
use crate::config::{Config, ListenOptions};

/// Waits for readiness, and has the clock.
#[derive(Debug)]
pub(crate) struct Poller {
    poll: Poll,
    events: Events,
    registrar: Registrar,
    busy_poll: Option<Duration>,
}

impl Poller {
    pub(crate) fn new(busy_poll: Option<Duration>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registrar = Registrar {
            registry: Arc::new(poll.registry().try_clone()?),
            lane: 0,
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            registrar,
            busy_poll,
        })
    }

    pub(crate) fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    /// Waits until something is ready, the timeout is over or the deadline has come. An interrupted wait is one
    /// without events.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        // mio rounds up to milliseconds, so a deadline is never met too early.
        let until = match deadline {
            Some(deadline) if timeout != Some(Duration::ZERO) => {
                Some(deadline.saturating_duration_since(self.now()))
            }
            _ => None,
        };
        let timeout = timeout.into_iter().chain(until).min();
        let spin = match (self.busy_poll, timeout) {
            (None, _) | (_, Some(Duration::ZERO)) => return self.poll(timeout),
            (Some(spin), None) => spin,
            (Some(spin), Some(timeout)) => spin.min(timeout),
        };
        if self.spin(spin)? {
            return Ok(());
        }
        self.poll(timeout.map(|timeout| timeout - spin))
    }

    /// Asks again and again for this long, without sleeping; whether something came.
    fn spin(&mut self, spin: Duration) -> io::Result<bool> {
        let begun = self.now();
        loop {
            self.poll(Some(Duration::ZERO))?;
            if !self.events.is_empty() {
                return Ok(true);
            }
            if self.now().saturating_duration_since(begun) >= spin {
                return Ok(false);
            }
        }
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            result => result,
        }
    }

    /// Whether the last wait brought as much as one can.
    pub(crate) fn is_full(&self) -> bool {
        self.events.iter().nth(EVENTS_MAX - 1).is_some()
    }

    /// What the last wait brought.
    pub(crate) fn ready(&self) -> impl Iterator<Item = Readiness> + '_ {
        self.events.iter().map(|event| {
            let failed = event.is_error();
            Readiness {
                token: event.token().0,
                readable: event.is_readable() || failed,
                writable: event.is_writable() || failed,
                finished: event.is_read_closed() || failed,
            }
        })
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }

    #[cfg(unix)]
    pub(crate) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(self.poll.registry())
    }
}

/// Where sockets are registered. Always for reading and writing at once: mio is edge-triggered, so a socket that is
/// registered once needs no further system call.
#[derive(Clone, Debug)]
pub(crate) struct Registrar {
    registry: Arc<Registry>,
    /// Added to every token: which member of a group it belongs to.
    lane: usize,
}

impl Registrar {
    pub(crate) fn add_stream(&self, stream: &mut Stream, token: usize) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(self.lane | token);
        self.registry.register(&mut stream.0, token, interest)
    }

    pub(crate) fn remove_stream(&self, stream: &mut Stream) -> io::Result<()> {
        self.registry.deregister(&mut stream.0)
    }

    pub(crate) fn add_listener(&self, listener: &mut Listener, token: usize) -> io::Result<()> {
        let token = Token(self.lane | token);
        self.registry
            .register(&mut listener.0, token, Interest::READABLE)
    }

    pub(crate) fn remove_listener(&self, listener: &mut Listener) -> io::Result<()> {
        self.registry.deregister(&mut listener.0)
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }

    pub(crate) fn waker(&self, token: usize) -> io::Result<Wake> {
        let waker = Waker::new(&self.registry, Token(token))?;
        Ok(Wake {
            waker: Arc::new(waker),
            bell: None,
        })
    }

    /// The same poll, for the member of a group with this lane.
    pub(crate) fn in_lane(&self, lane: usize) -> Self {
        let registry = Arc::clone(&self.registry);
        Self { registry, lane }
    }
}

/// Ends another thread's wait.
#[derive(Debug)]
pub(crate) struct Wake {
    waker: Arc<Waker>,
    /// Where the member of a group that is meant says so, since a poll has one waker only.
    bell: Option<(Bell, usize)>,
}

impl Wake {
    pub(crate) fn wake(&self) -> io::Result<()> {
        if let Some((bell, member)) = &self.bell {
            bell.ring(*member);
        }
        self.waker.wake()
    }

    /// The same waker, for a member of a group.
    pub(crate) fn on_behalf_of(&self, member: usize, bell: Bell) -> Self {
        Self {
            waker: Arc::clone(&self.waker),
            bell: Some((bell, member)),
        }
    }
}

/// What is set on every connection's socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketOptions {
    nodelay: bool,
    keepalive: Option<Duration>,
    pub(super) send_buffer: Option<usize>,
    pub(super) receive_buffer: Option<usize>,
}

impl SocketOptions {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            nodelay: config.nodelay,
            keepalive: config.keepalive,
            send_buffer: config.send_buffer,
            receive_buffer: config.receive_buffer,
        }
    }

    /// Buffer sizes matter before the connection is made, since the window scale is agreed with the first segment.
    fn set_buffers(&self, socket: SockRef<'_>) -> io::Result<()> {
        if let Some(size) = self.send_buffer {
            socket.set_send_buffer_size(size)?;
        }
        if let Some(size) = self.receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        Ok(())
    }
}

/// A non-blocking TCP connection.
#[derive(Debug)]
pub(crate) struct Stream(TcpStream);

impl Stream {
    /// Begins to connect. The outcome follows as writability; see [`Stream::connected`].
    pub(crate) fn connect(
        addr: SocketAddr,
        socket: Option<Socket>,
        source: Option<SocketAddr>,
        options: &SocketOptions,
    ) -> io::Result<Self> {
        let socket = match socket {
            Some(socket) => socket,
            None => {
                let socket =
                    Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
                if let Some(source) = source {
                    socket.bind(&source.into())?;
                }
                options.set_buffers(SockRef::from(&socket))?;
                socket
            }
        };
        socket.set_nonblocking(true)?;
        match socket.connect(&addr.into()) {
            Err(error) if !is_in_progress(&error) => Err(error),
            _ => Ok(Self(TcpStream::from_std(socket.into()))),
        }
    }

    /// Whether the connection that was begun is made; its local address then.
    pub(crate) fn connected(&self) -> io::Result<Option<SocketAddr>> {
        if let Some(error) = self.0.take_error()? {
            return Err(error);
        }
        match self.0.peer_addr() {
            Ok(_) => self.0.local_addr().map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotConnected || is_in_progress(&error) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sets what can only be set on an established connection on every system.
    pub(crate) fn set_up(&self, options: &SocketOptions) -> io::Result<()> {
        if options.nodelay {
            self.0.set_nodelay(true)?;
        }
        if let Some(time) = options.keepalive {
            SockRef::from(&self.0).set_tcp_keepalive(&TcpKeepalive::new().with_time(time))?;
        }
        Ok(())
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// What broke the connection, if something has. After the peer's end of stream a read does not tell: it goes on
    /// to say that there is nothing.
    pub(crate) fn broken(&self) -> Option<io::Error> {
        self.0.take_error().unwrap_or_else(Some)
    }

    /// Whether the peer has ended its side and nothing is left to read; looks and takes nothing.
    ///
    /// # Errors
    ///
    /// What broke the connection, if something has and nothing is left to read.
    pub(crate) fn is_at_end(&self) -> io::Result<bool> {
        match self.0.peek(&mut [0]) {
            Ok(count) => Ok(count == 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [slice] => self.0.write(slice),
            slices => self.0.write_vectored(slices),
        }
    }

    /// Sends FIN.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    /// Makes the coming close a reset: nothing more is sent, the peer is told at once.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        SockRef::from(&self.0).set_linger(Some(Duration::ZERO))
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    let in_progress = error.raw_os_error() == Some(EINPROGRESS);
    #[cfg(not(unix))]
    let in_progress = false;
    in_progress || error.kind() == io::ErrorKind::WouldBlock
}

/// `connect(2)` has begun. std has no stable name for it; the numbers are those of each system's errno.h.
#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(any(target_arch = "mips", target_arch = "mips64", target_arch = "sparc64"))
))]
const EINPROGRESS: i32 = 115;
#[cfg(any(
    target_os = "solaris",
    target_os = "illumos",
    all(target_os = "linux", any(target_arch = "mips", target_arch = "mips64"))
))]
const EINPROGRESS: i32 = 150;
#[cfg(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "android")),
    any(not(target_os = "linux"), target_arch = "sparc64")
))]
const EINPROGRESS: i32 = 36;

/// A non-blocking TCP listener.
#[derive(Debug)]
pub(crate) struct Listener(TcpListener);

impl Listener {
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
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        socket.set_nonblocking(true)?;
        Ok(Self(TcpListener::from_std(socket.into())))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(crate) fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        self.0.accept().map(|(stream, addr)| (Stream(stream), addr))
    }

    /// What an error of [`Listener::accept`] speaks of.
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
pub(crate) struct Reserve(Option<Socket>);

impl Reserve {
    /// Takes a descriptor, if there is none in reserve.
    pub(crate) fn fill(&mut self) {
        if self.0.is_none() {
            // Without one the queue is not shed; it waits.
            self.0 = Socket::new(Domain::IPV4, Type::DGRAM, None).ok();
        }
    }

    /// Accepts and closes up to `max` connections with the descriptor in reserve; how many.
    pub(crate) fn shed(&mut self, listener: &Listener, max: usize) -> usize {
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
