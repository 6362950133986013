//! A connection, in whichever world.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

#[cfg(feature = "sim")]
use super::sim;
use super::{SocketOptions, os};

/// A non-blocking TCP connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Os(os::OsStream),
    #[cfg(feature = "sim")]
    Sim(sim::SimStream),
}

impl Stream {
    /// The number of a simulated one.
    #[cfg(feature = "sim")]
    pub(crate) fn sim_id(&self) -> Option<sim::SocketId> {
        match self {
            Self::Os(_) => None,
            Self::Sim(stream) => Some(stream.id()),
        }
    }

    /// Whether the connection that was begun is made; its local address then.
    #[inline]
    pub(crate) fn connected(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Os(stream) => stream.connected(),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.connected(),
        }
    }

    /// Sets the options of a connection that was dialled.
    #[inline]
    pub(crate) fn set_up_outbound(&self, options: &SocketOptions) -> io::Result<()> {
        match self {
            Self::Os(stream) => stream.set_up_outbound(options),
            #[cfg(feature = "sim")]
            Self::Sim(_) => Ok(()),
        }
    }

    /// Sets the options of a connection that was accepted.
    #[inline]
    pub(crate) fn set_up_inbound(&self, options: &SocketOptions) -> io::Result<()> {
        match self {
            Self::Os(stream) => stream.set_up_inbound(options),
            #[cfg(feature = "sim")]
            Self::Sim(_) => Ok(()),
        }
    }

    #[inline]
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Os(stream) => stream.local_addr(),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.local_addr(),
        }
    }

    /// What broke the connection, if something has. After the peer's end of stream a read does not tell: it goes on
    /// to say that there is nothing.
    pub(crate) fn broken(&self) -> Option<io::Error> {
        match self {
            Self::Os(stream) => stream.broken(),
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
            Self::Os(stream) => stream.is_at_end(),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.is_at_end(),
        }
    }

    #[inline]
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Os(stream) => stream.read(buffer),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.read(buffer),
        }
    }

    #[inline]
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Os(stream) => stream.write(slices),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.write(slices),
        }
    }

    /// Sends FIN.
    pub(crate) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Os(stream) => stream.finish(),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.finish(),
        }
    }

    /// Makes the coming close a reset: nothing more is sent, the peer is told at once.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        match self {
            Self::Os(stream) => stream.reset_on_close(),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.reset_on_close(),
        }
    }
}
