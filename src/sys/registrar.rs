//! Making and registering what belongs to a world.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use socket2::Socket;

#[cfg(feature = "sim")]
use super::sim;
use super::{Listener, Reserve, SocketOptions, Stream, WakeList, os};
use crate::config::ListenOptions;

/// Where sockets are made and registered. Always for reading and writing at once.
#[derive(Clone, Debug)]
pub(crate) enum Registrar {
    Os(os::OsRegistrar),
    #[cfg(feature = "sim")]
    Sim(sim::SimRegistrar),
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
            Self::Os(_) => os::OsStream::connect(addr, socket, source, options).map(Stream::Os),
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
            Self::Os(_) => os::OsListener::bind(addr, options, sockets).map(Listener::Os),
            #[cfg(feature = "sim")]
            Self::Sim(registrar) => registrar.bind(addr, options, sockets).map(Listener::Sim),
        }
    }

    /// A reserve that is empty yet.
    pub(crate) fn reserve(&self) -> Reserve {
        match self {
            Self::Os(_) => Reserve::Os(os::OsReserve::default()),
            #[cfg(feature = "sim")]
            Self::Sim(_) => Reserve::Sim(sim::SimReserve),
        }
    }

    /// The clock of the loop, for those who measure; handlers see it once a turn.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Os(registrar) => registrar.now(),
            #[cfg(feature = "sim")]
            Self::Sim(registrar) => registrar.now(),
        }
    }

    #[inline]
    pub(crate) fn add_stream(&self, stream: &mut Stream, token: usize) -> io::Result<()> {
        match (self, stream) {
            (Self::Os(registrar), Stream::Os(stream)) => registrar.add_stream(stream, token),
            #[cfg(feature = "sim")]
            (Self::Sim(registrar), Stream::Sim(stream)) => registrar.add_stream(stream, token),
            #[cfg(feature = "sim")]
            _ => unreachable!("what belongs to one world is not given to another"),
        }
    }

    #[inline]
    pub(crate) fn remove_stream(&self, stream: &mut Stream) -> io::Result<()> {
        match (self, stream) {
            (Self::Os(registrar), Stream::Os(stream)) => registrar.remove_stream(stream),
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
            (Self::Os(registrar), Listener::Os(listener)) => {
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
            (Self::Os(registrar), Listener::Os(listener)) => registrar.remove_listener(listener),
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
    pub(crate) fn with_member_tag(&self, member_tag: usize) -> Self {
        match self {
            Self::Os(registrar) => Self::Os(registrar.with_member_tag(member_tag)),
            #[cfg(feature = "sim")]
            Self::Sim(_) => unreachable!("simulated nodes make no group"),
        }
    }

    pub(crate) fn waker(&self, token: usize) -> io::Result<Wake> {
        match self {
            Self::Os(registrar) => registrar.waker(token).map(Wake::Os),
            #[cfg(feature = "sim")]
            Self::Sim(registrar) => Ok(Wake::Sim(registrar.waker(token))),
        }
    }
}

/// Ends another thread's wait.
#[derive(Debug)]
pub(crate) enum Wake {
    Os(os::OsWake),
    #[cfg(feature = "sim")]
    Sim(sim::SimWake),
}

impl Wake {
    #[inline]
    pub(crate) fn wake(&self) -> io::Result<()> {
        match self {
            Self::Os(wake) => wake.wake(),
            #[cfg(feature = "sim")]
            Self::Sim(wake) => {
                wake.wake();
                Ok(())
            }
        }
    }

    /// The same waker, for a member of a group.
    pub(crate) fn on_behalf_of(&self, member: usize, wake_list: WakeList) -> Self {
        match self {
            Self::Os(wake) => Self::Os(wake.on_behalf_of(member, wake_list)),
            #[cfg(feature = "sim")]
            Self::Sim(_) => unreachable!("simulated nodes make no group"),
        }
    }
}
