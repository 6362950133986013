//! Making and registering what belongs to a world.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use socket2::Socket;

#[cfg(feature = "sim")]
use super::sim;
use super::{Bell, Listener, Reserve, SocketOptions, Stream, tcp};
use crate::config::ListenOptions;

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
