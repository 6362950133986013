//! Creating and registering sockets of both backends.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

#[cfg(feature = "sim")]
use super::sim;
use super::{
    Interest, Listener, Reserve, SocketOptions, Source, Stream, Udp, WakeList, dispatch,
    from_backends, os,
};
use crate::config::{ListenOptions, UdpOptions};
use crate::mutants::mutant;

/// Creates sockets and registers them with a poller.
#[derive(Clone, Debug)]
pub(crate) enum Registrar {
    Os(os::OsRegistrar),
    #[cfg(feature = "sim")]
    Sim(sim::SimRegistrar),
}

from_backends!(Registrar: os::OsRegistrar, sim::SimRegistrar);

impl Registrar {
    /// Starts connecting. The outcome is reported as writability; see
    /// [`Stream::connected`].
    #[inline]
    pub(crate) fn connect(
        &self,
        addr: SocketAddr,
        socket: Option<std::net::TcpStream>,
        source: Option<SocketAddr>,
        options: &SocketOptions,
    ) -> io::Result<Stream> {
        match self {
            Self::Os(_) => os::OsStream::connect(addr, socket, source, options).map(Stream::Os),
            #[cfg(feature = "sim")]
            Self::Sim(_) if socket.is_some() => Err(unsupported()),
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

    pub(crate) fn bind_udp(&self, addr: SocketAddr, options: &UdpOptions) -> io::Result<Udp> {
        match self {
            Self::Os(_) => os::OsUdp::bind(addr, options).map(Udp::Os),
            #[cfg(feature = "sim")]
            Self::Sim(registrar) => registrar.bind_udp(addr, options).map(Udp::Sim),
        }
    }

    /// Returns the registrar of the operating system.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a simulated node.
    fn os(&self) -> io::Result<&os::OsRegistrar> {
        match self {
            Self::Os(registrar) => Ok(registrar),
            #[cfg(feature = "sim")]
            Self::Sim(_) => Err(unsupported()),
        }
    }

    /// Adopts a connected stream. Returns it and the address of its other end.
    pub(crate) fn adopt(
        &self,
        stream: std::net::TcpStream,
        sockets: &SocketOptions,
    ) -> io::Result<(Stream, SocketAddr)> {
        self.os()?;
        let (stream, addr) = os::OsStream::adopt(stream, sockets)?;
        Ok((Stream::Os(stream), addr))
    }

    /// Adopts a listening socket.
    pub(crate) fn adopt_listener(&self, listener: std::net::TcpListener) -> io::Result<Listener> {
        self.os()?;
        os::OsListener::adopt(listener).map(Listener::Os)
    }

    /// Returns an empty reserve.
    pub(crate) fn reserve(&self) -> Reserve {
        match self {
            Self::Os(_) => os::OsReserve::default().into(),
            #[cfg(feature = "sim")]
            Self::Sim(_) => sim::SimReserve.into(),
        }
    }

    /// Returns the time on the clock of the loop, for measurements. Handlers
    /// get one time per turn.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        dispatch!(self, registrar => registrar.now())
    }

    /// Registers a stream for reading. A connecting stream is registered for
    /// writing as well, because that reports the outcome. Other streams are so
    /// when they are full; see [`Registrar::watch_room`]. Most connections never
    /// are, and each edge of writability would be a turn without work: the one
    /// of the registration, and on Linux the one of the acknowledgement of FIN.
    #[inline]
    pub(crate) fn add_stream(&self, stream: &mut Stream, token: usize) -> io::Result<()> {
        dispatch!(self, stream as Stream; (it, stream) => it.add_stream(stream, token))
    }

    /// Makes the room of a full stream an event, from now on. Room that there
    /// is already is reported at once.
    pub(crate) fn watch_room(&self, stream: &mut Stream, token: usize) -> io::Result<()> {
        mutant!(ForgetRoom => return Ok(()));
        dispatch!(self, stream as Stream; (it, stream) => it.watch_room(stream, token))
    }

    /// Ends the registration of a stream that stays open.
    #[inline]
    pub(crate) fn remove_stream(&self, stream: &mut Stream) -> io::Result<()> {
        dispatch!(self, stream as Stream; (it, stream) => it.remove_stream(stream))
    }

    /// Closes a stream and ends its registration.
    ///
    /// # Errors
    ///
    /// The error with which the registration could not be ended. The stream is
    /// closed nevertheless.
    pub(crate) fn close_stream(&self, stream: Stream) -> io::Result<()> {
        dispatch!(self, stream as Stream; (it, stream) => it.close_stream(stream))
    }

    #[inline]
    pub(crate) fn add_listener(&self, listener: &mut Listener, token: usize) -> io::Result<()> {
        dispatch!(self, listener as Listener; (it, listener) => it.add_listener(listener, token))
    }

    #[inline]
    pub(crate) fn remove_listener(&self, listener: &mut Listener) -> io::Result<()> {
        dispatch!(self, listener as Listener; (it, listener) => it.remove_listener(listener))
    }

    /// Registers a UDP socket for reading only, because Linux reports room
    /// after each datagram that has left (`sock_def_write_space`).
    pub(crate) fn add_udp(&self, udp: &mut Udp, token: usize) -> io::Result<()> {
        dispatch!(self, udp as Udp; (it, udp) => it.add_udp(udp, token))
    }

    /// Changes whether the socket is reported when it has room.
    pub(crate) fn watch_udp(&self, udp: &mut Udp, token: usize, for_room: bool) -> io::Result<()> {
        dispatch!(self, udp as Udp; (it, udp) => it.watch_udp(udp, token, for_room))
    }

    pub(crate) fn remove_udp(&self, udp: &mut Udp) -> io::Result<()> {
        dispatch!(self, udp as Udp; (it, udp) => it.remove_udp(udp))
    }

    /// Registers a source of the program.
    pub(crate) fn add_source(
        &self,
        source: &mut (impl Source + ?Sized),
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        self.os()?.add_source(source, token, interest)
    }

    /// Changes the interest in a source of the program. If the source is ready,
    /// it is reported again.
    pub(crate) fn change_source(
        &self,
        source: &mut (impl Source + ?Sized),
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        self.os()?.change_source(source, token, interest)
    }

    pub(crate) fn remove_source(&self, source: &mut (impl Source + ?Sized)) -> io::Result<()> {
        self.os()?.remove_source(source)
    }

    /// Returns a registrar of the same poll, for the member of a group with
    /// this tag.
    pub(crate) fn with_member_tag(&self, member_tag: usize) -> Self {
        match self {
            Self::Os(registrar) => registrar.with_member_tag(member_tag).into(),
            #[cfg(feature = "sim")]
            Self::Sim(_) => unreachable!("simulated nodes form no group"),
        }
    }

    pub(crate) fn waker(&self, token: usize) -> io::Result<Wake> {
        dispatch!(self, registrar => registrar.waker(token).map(Wake::from))
    }
}

/// Returns the error for a simulated node and a socket of the operating system.
#[cfg(feature = "sim")]
fn unsupported() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "a simulated node cannot use sockets of the operating system",
    )
}

/// Ends the wait of another thread.
#[derive(Debug)]
pub(crate) enum Wake {
    Os(os::OsWake),
    #[cfg(feature = "sim")]
    Sim(sim::SimWake),
}

from_backends!(Wake: os::OsWake, sim::SimWake);

impl Wake {
    #[inline]
    pub(crate) fn wake(&self) -> io::Result<()> {
        dispatch!(self, wake => wake.wake())
    }

    /// Returns the same waker, for a member of a group.
    pub(crate) fn for_member(&self, member: usize, wake_list: WakeList) -> Self {
        match self {
            Self::Os(wake) => wake.for_member(member, wake_list).into(),
            #[cfg(feature = "sim")]
            Self::Sim(_) => unreachable!("simulated nodes form no group"),
        }
    }
}
