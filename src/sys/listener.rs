//! A listener, in whichever world.

use std::io;
use std::net::SocketAddr;

#[cfg(feature = "sim")]
use super::sim;
use super::{Stream, os};

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

/// A non-blocking TCP listener.
#[derive(Debug)]
pub(crate) enum Listener {
    Os(os::OsListener),
    #[cfg(feature = "sim")]
    Sim(sim::SimListener),
}

impl Listener {
    /// The number of a simulated one.
    #[cfg(feature = "sim")]
    pub(crate) fn sim_id(&self) -> Option<u64> {
        match self {
            Self::Os(_) => None,
            Self::Sim(listener) => Some(listener.id()),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Os(listener) => listener.local_addr(),
            #[cfg(feature = "sim")]
            Self::Sim(listener) => listener.local_addr(),
        }
    }

    #[inline]
    pub(crate) fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Os(listener) => listener
                .accept()
                .map(|(stream, addr)| (Stream::Os(stream), addr)),
            #[cfg(feature = "sim")]
            Self::Sim(listener) => listener
                .accept()
                .map(|(stream, addr)| (Stream::Sim(stream), addr)),
        }
    }

    /// What an error of [`Listener::accept`] speaks of.
    pub(crate) fn classify(error: &io::Error) -> AcceptError {
        os::OsListener::classify(error)
    }
}

/// A descriptor kept for the time when there is no other: with it, those who wait to be accepted can be told no.
#[derive(Debug)]
pub(crate) enum Reserve {
    Os(os::OsReserve),
    #[cfg(feature = "sim")]
    Sim(sim::SimReserve),
}

impl Reserve {
    /// Takes a descriptor, if there is none in reserve.
    pub(crate) fn fill(&mut self) {
        match self {
            Self::Os(reserve) => reserve.fill(),
            #[cfg(feature = "sim")]
            Self::Sim(_) => {}
        }
    }

    /// Accepts and closes up to `max` connections with the descriptor in reserve; how many.
    pub(crate) fn shed(&mut self, listener: &Listener, max: usize) -> usize {
        match (self, listener) {
            (Self::Os(reserve), Listener::Os(listener)) => reserve.shed(listener, max),
            #[cfg(feature = "sim")]
            (Self::Sim(reserve), Listener::Sim(listener)) => reserve.shed(listener, max),
            #[cfg(feature = "sim")]
            _ => unreachable!("what belongs to one world is not given to another"),
        }
    }
}
