//! Listeners of both backends.

use std::io;
use std::net::SocketAddr;

#[cfg(feature = "sim")]
use super::sim;
use super::{Stream, dispatch, from_backends, os};

/// The cause of an error of `accept`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AcceptError {
    /// No connection is waiting.
    Empty,
    /// The error belongs to the connection that was to be accepted, or to its
    /// network. The next call may succeed. Linux returns pending network errors
    /// of the new socket here (accept(2)).
    OneConnection,
    /// The process or the system has no file descriptor left.
    NoDescriptor,
    /// Any other cause, such as no memory.
    Other,
}

/// A non-blocking TCP listener.
#[derive(Debug)]
pub(crate) enum Listener {
    Os(os::OsListener),
    #[cfg(feature = "sim")]
    Sim(sim::SimListener),
}

from_backends!(Listener: os::OsListener, sim::SimListener);

impl Listener {
    /// Returns the id of a simulated listener.
    #[cfg(feature = "sim")]
    pub(crate) fn sim_id(&self) -> Option<sim::SocketId> {
        match self {
            Self::Os(_) => None,
            Self::Sim(listener) => Some(listener.id()),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        dispatch!(self, listener => listener.local_addr())
    }

    /// Returns the local address of every accepted connection, if it is known
    /// without a call.
    #[inline]
    pub(crate) fn accepts_on(&self) -> Option<SocketAddr> {
        dispatch!(self, listener => listener.accepts_on())
    }

    /// Returns whether the options of an accepted connection are set already.
    #[inline]
    pub(crate) fn passes_options_on(&self) -> bool {
        dispatch!(self, listener => listener.passes_options_on())
    }

    #[inline]
    pub(crate) fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        dispatch!(self, listener => {
            let (stream, addr) = listener.accept()?;
            Ok((stream.into(), addr))
        })
    }

    /// Returns the cause of an error of [`Listener::accept`].
    pub(crate) fn classify(error: &io::Error) -> AcceptError {
        os::OsListener::classify(error)
    }
}

/// A reserved file descriptor. When no other is left, waiting connections are
/// accepted with it and closed, so that their peers do not wait in vain.
#[derive(Debug)]
pub(crate) enum Reserve {
    Os(os::OsReserve),
    #[cfg(feature = "sim")]
    Sim(sim::SimReserve),
}

from_backends!(Reserve: os::OsReserve, sim::SimReserve);

impl Reserve {
    /// Reserves a descriptor unless one is reserved.
    pub(crate) fn fill(&mut self) {
        dispatch!(self, reserve => reserve.fill());
    }

    /// Accepts and closes at most `max` connections with the reserved
    /// descriptor. Returns the number of closed connections.
    pub(crate) fn close_waiting(&mut self, listener: &Listener, max: usize) -> usize {
        dispatch!(self, listener as Listener; (it, listener) => it.close_waiting(listener, max))
    }
}
