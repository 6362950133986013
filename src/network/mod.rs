//! Floor 4: the only place that knows mio and socket2. Everything above asks for readiness, bytes and the time here.
//!
//! Each type is an enum over the worlds that there are, and its calls go straight through. Whatever makes something new
//! is a call of the [`Registrar`], which knows the world that it belongs to; so nothing above this floor asks which
//! one it lives in.

mod bell;
#[cfg(feature = "sim")]
pub(crate) mod sim;
mod tcp;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::config::ListenOptions;

pub(crate) use bell::Bell;
pub(crate) use tcp::SocketOptions;

/// Events taken from the system at once. What does not fit stays there and is reported by the next wait.
const EVENTS_MAX: usize = 1024;

/// What the poller reports about one key. Hints, all of them: any may be spurious.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    pub(crate) token: usize,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has ended its side, or the connection is gone: reading on to the end is needed even after a short
    /// read, since no further edge will come.
    pub(crate) finished: bool,
}

/// What an error of `accept` speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AcceptError {
    /// Nobody waits.
    Empty,
    /// The connection that was to be accepted is gone, or its network is: the next call is worth making. Linux hands
    /// out the pending network errors of the new socket here (accept(2)).
    OneConnection,
    /// The process, or the system, has no descriptor left.
    NoDescriptor,
    /// Anything else; memory, for instance.
    Other,
}

/// Waits for readiness, and has the clock.
#[derive(Debug)]
pub(crate) enum Poller {
    Tcp(tcp::Poller),
    #[cfg(feature = "sim")]
    Sim(sim::Poller),
}

impl Poller {
    /// A poller of the operating system that spins for as long as `busy_poll` says before it sleeps.
    pub(crate) fn new(busy_poll: Option<Duration>) -> io::Result<Self> {
        tcp::Poller::new(busy_poll).map(Self::Tcp)
    }

    pub(crate) fn registrar(&self) -> Registrar {
        match self {
            Self::Tcp(poller) => Registrar::Tcp(poller.registrar().clone()),
            #[cfg(feature = "sim")]
            Self::Sim(poller) => Registrar::Sim(poller.registrar().clone()),
        }
    }

    /// Waits until something is ready, the timeout is over or the deadline has come, and hands out all that is ready.
    /// An interrupted wait is one without events.
    ///
    /// The system tells so much at a time; it is asked again for as long as there may be more, so that nobody is judged
    /// by what a deadline says while what it sent is waiting. Each of the `sockets` is told of once, but for those to
    /// which something happens meanwhile: that bounds how often.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        deadline: Option<Instant>,
        sockets: usize,
        mut note: impl FnMut(Readiness),
    ) -> io::Result<()> {
        self.wait_once(timeout, deadline)?;
        self.for_each_ready(&mut note);
        for _ in 0..sockets / EVENTS_MAX {
            if !self.is_full() {
                break;
            }
            self.wait_once(Some(Duration::ZERO), None)?;
            self.for_each_ready(&mut note);
        }
        Ok(())
    }

    /// Whether the last wait brought as much as one can, so that there may be more: the next one must not sleep, nor
    /// may a foreign loop, for which no further edge comes.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Tcp(poller) => poller.is_full(),
            #[cfg(feature = "sim")]
            Self::Sim(poller) => poller.is_full(),
        }
    }

    #[inline]
    fn wait_once(
        &mut self,
        timeout: Option<Duration>,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(poller) => poller.wait(timeout, deadline),
            #[cfg(feature = "sim")]
            Self::Sim(poller) => {
                poller.wait();
                Ok(())
            }
        }
    }

    /// Hands out what the last wait brought.
    #[inline]
    fn for_each_ready(&self, note: impl FnMut(Readiness)) {
        match self {
            Self::Tcp(poller) => poller.ready().for_each(note),
            #[cfg(feature = "sim")]
            Self::Sim(poller) => poller.ready().for_each(note),
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Tcp(poller) => poller.now(),
            #[cfg(feature = "sim")]
            Self::Sim(poller) => poller.now(),
        }
    }

    #[cfg(unix)]
    pub(crate) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(poller) => poller.as_fd(),
            #[cfg(feature = "sim")]
            Self::Sim(_) => unreachable!("a world keeps its nodes, and asks none for a descriptor"),
        }
    }
}

/// Where sockets are made and registered. Always for reading and writing at once.
#[derive(Clone, Debug)]
pub(crate) enum Registrar {
    Tcp(tcp::Registrar),
    #[cfg(feature = "sim")]
    Sim(sim::Registrar),
}

impl Registrar {
    /// Begins to connect. The outcome follows as writability; see [`Stream::connected`].
    #[inline]
    pub(crate) fn connect(
        &self,
        addr: SocketAddr,
        socket: Option<Socket>,
        source: Option<SocketAddr>,
        options: &SocketOptions,
    ) -> io::Result<Stream> {
        match self {
            Self::Tcp(_) => tcp::Stream::connect(addr, socket, source, options).map(Stream::Tcp),
            #[cfg(feature = "sim")]
            Self::Sim(_) if socket.is_some() => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a simulated node has no use for a socket of the system",
            )),
            #[cfg(feature = "sim")]
            Self::Sim(registrar) => registrar.connect(addr, source, options).map(Stream::Sim),
        }
    }

    #[inline]
    pub(crate) fn bind(
        &self,
        addr: SocketAddr,
        options: &ListenOptions,
        sockets: &SocketOptions,
    ) -> io::Result<Listener> {
        match self {
            Self::Tcp(_) => tcp::Listener::bind(addr, options, sockets).map(Listener::Tcp),
            #[cfg(feature = "sim")]
            Self::Sim(registrar) => registrar.bind(addr, options, sockets).map(Listener::Sim),
        }
    }

    /// A reserve that is empty yet.
    pub(crate) fn reserve(&self) -> Reserve {
        match self {
            Self::Tcp(_) => Reserve::Tcp(tcp::Reserve::default()),
            #[cfg(feature = "sim")]
            Self::Sim(_) => Reserve::Sim(sim::Reserve),
        }
    }

    /// The clock of the loop, for those who measure; handlers see it once a turn.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Tcp(registrar) => registrar.now(),
            #[cfg(feature = "sim")]
            Self::Sim(registrar) => registrar.now(),
        }
    }

    #[inline]
    pub(crate) fn add_stream(&self, stream: &mut Stream, token: usize) -> io::Result<()> {
        match (self, stream) {
            (Self::Tcp(registrar), Stream::Tcp(stream)) => registrar.add_stream(stream, token),
            #[cfg(feature = "sim")]
            (Self::Sim(registrar), Stream::Sim(stream)) => registrar.add_stream(stream, token),
            #[cfg(feature = "sim")]
            _ => unreachable!("what belongs to one world is not given to another"),
        }
    }

    #[inline]
    pub(crate) fn remove_stream(&self, stream: &mut Stream) -> io::Result<()> {
        match (self, stream) {
            (Self::Tcp(registrar), Stream::Tcp(stream)) => registrar.remove_stream(stream),
            #[cfg(feature = "sim")]
            (Self::Sim(registrar), Stream::Sim(stream)) => {
                registrar.remove_stream(stream);
                Ok(())
            }
            #[cfg(feature = "sim")]
            _ => unreachable!("what belongs to one world is not given to another"),
        }
    }

    #[inline]
    pub(crate) fn add_listener(&self, listener: &mut Listener, token: usize) -> io::Result<()> {
        match (self, listener) {
            (Self::Tcp(registrar), Listener::Tcp(listener)) => {
                registrar.add_listener(listener, token)
            }
            #[cfg(feature = "sim")]
            (Self::Sim(registrar), Listener::Sim(listener)) => {
                registrar.add_listener(listener, token);
                Ok(())
            }
            #[cfg(feature = "sim")]
            _ => unreachable!("what belongs to one world is not given to another"),
        }
    }

    #[inline]
    pub(crate) fn remove_listener(&self, listener: &mut Listener) -> io::Result<()> {
        match (self, listener) {
            (Self::Tcp(registrar), Listener::Tcp(listener)) => registrar.remove_listener(listener),
            #[cfg(feature = "sim")]
            (Self::Sim(registrar), Listener::Sim(listener)) => {
                registrar.remove_listener(listener);
                Ok(())
            }
            #[cfg(feature = "sim")]
            _ => unreachable!("what belongs to one world is not given to another"),
        }
    }

    /// The same poll, for the member of a group with this lane.
    pub(crate) fn in_lane(&self, lane: usize) -> Self {
        match self {
            Self::Tcp(registrar) => Self::Tcp(registrar.in_lane(lane)),
            #[cfg(feature = "sim")]
            Self::Sim(_) => unreachable!("simulated nodes make no group"),
        }
    }

    pub(crate) fn waker(&self, token: usize) -> io::Result<Wake> {
        match self {
            Self::Tcp(registrar) => registrar.waker(token).map(Wake::Tcp),
            #[cfg(feature = "sim")]
            Self::Sim(registrar) => Ok(Wake::Sim(registrar.waker(token))),
        }
    }
}

/// Ends another thread's wait.
#[derive(Debug)]
pub(crate) enum Wake {
    Tcp(tcp::Wake),
    #[cfg(feature = "sim")]
    Sim(sim::Wake),
}

impl Wake {
    #[inline]
    pub(crate) fn wake(&self) -> io::Result<()> {
        match self {
            Self::Tcp(wake) => wake.wake(),
            #[cfg(feature = "sim")]
            Self::Sim(wake) => {
                wake.wake();
                Ok(())
            }
        }
    }

    /// The same waker, for a member of a group.
    pub(crate) fn on_behalf_of(&self, member: usize, bell: Bell) -> Self {
        match self {
            Self::Tcp(wake) => Self::Tcp(wake.on_behalf_of(member, bell)),
            #[cfg(feature = "sim")]
            Self::Sim(_) => unreachable!("simulated nodes make no group"),
        }
    }
}

/// A non-blocking TCP connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(tcp::Stream),
    #[cfg(feature = "sim")]
    Sim(sim::Stream),
}

impl Stream {
    /// The number of a simulated one.
    #[cfg(feature = "sim")]
    pub(crate) fn sim_id(&self) -> Option<sim::SocketId> {
        match self {
            Self::Tcp(_) => None,
            Self::Sim(stream) => Some(stream.id()),
        }
    }

    /// Whether the connection that was begun is made; its local address then.
    #[inline]
    pub(crate) fn connected(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(stream) => stream.connected(),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.connected(),
        }
    }

    /// Sets what can only be set on an established connection on every system.
    #[inline]
    pub(crate) fn set_up(&self, options: &SocketOptions) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_up(options),
            #[cfg(feature = "sim")]
            Self::Sim(_) => Ok(()),
        }
    }

    #[inline]
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr(),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.local_addr(),
        }
    }

    /// What broke the connection, if something has. After the peer's end of stream a read does not tell: it goes on
    /// to say that there is nothing.
    pub(crate) fn broken(&self) -> Option<io::Error> {
        match self {
            Self::Tcp(stream) => stream.broken(),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.broken(),
        }
    }

    /// Whether the peer has ended its side and nothing is left to read; looks and takes nothing.
    ///
    /// # Errors
    ///
    /// What broke the connection, if something has and nothing is left to read.
    pub(crate) fn is_at_end(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(stream) => stream.is_at_end(),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.is_at_end(),
        }
    }

    #[inline]
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.read(buffer),
        }
    }

    #[inline]
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(slices),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.write(slices),
        }
    }

    /// Sends FIN.
    pub(crate) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.finish(),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.finish(),
        }
    }

    /// Makes the coming close a reset: nothing more is sent, the peer is told at once.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reset_on_close(),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.reset_on_close(),
        }
    }
}

/// A non-blocking TCP listener.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(tcp::Listener),
    #[cfg(feature = "sim")]
    Sim(sim::Listener),
}

impl Listener {
    /// The number of a simulated one.
    #[cfg(feature = "sim")]
    pub(crate) fn sim_id(&self) -> Option<u64> {
        match self {
            Self::Tcp(_) => None,
            Self::Sim(listener) => Some(listener.id()),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            #[cfg(feature = "sim")]
            Self::Sim(listener) => listener.local_addr(),
        }
    }

    #[inline]
    pub(crate) fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Tcp(listener) => listener
                .accept()
                .map(|(stream, addr)| (Stream::Tcp(stream), addr)),
            #[cfg(feature = "sim")]
            Self::Sim(listener) => listener
                .accept()
                .map(|(stream, addr)| (Stream::Sim(stream), addr)),
        }
    }

    /// What an error of [`Listener::accept`] speaks of.
    pub(crate) fn classify(error: &io::Error) -> AcceptError {
        tcp::Listener::classify(error)
    }
}

/// A descriptor kept for the time when there is no other: with it, those who wait to be accepted can be told no.
#[derive(Debug)]
pub(crate) enum Reserve {
    Tcp(tcp::Reserve),
    #[cfg(feature = "sim")]
    Sim(sim::Reserve),
}

impl Reserve {
    /// Takes a descriptor, if there is none in reserve.
    pub(crate) fn fill(&mut self) {
        match self {
            Self::Tcp(reserve) => reserve.fill(),
            #[cfg(feature = "sim")]
            Self::Sim(_) => {}
        }
    }

    /// Accepts and closes up to `max` connections with the descriptor in reserve; how many.
    pub(crate) fn shed(&mut self, listener: &Listener, max: usize) -> usize {
        match (self, listener) {
            (Self::Tcp(reserve), Listener::Tcp(listener)) => reserve.shed(listener, max),
            #[cfg(feature = "sim")]
            (Self::Sim(reserve), Listener::Sim(listener)) => reserve.shed(listener, max),
            #[cfg(feature = "sim")]
            _ => unreachable!("what belongs to one world is not given to another"),
        }
    }
}
