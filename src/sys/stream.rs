//! TCP streams of both backends.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

#[cfg(feature = "sim")]
use super::sim;
use super::{SocketOptions, dispatch, from_backends, os};
use crate::framing::Framing;
use crate::mutants::mutant;

/// A non-blocking TCP stream.
#[derive(Debug)]
pub(crate) enum Stream {
    Os(os::OsStream),
    #[cfg(feature = "sim")]
    Sim(sim::SimStream),
}

from_backends!(Stream: os::OsStream, sim::SimStream);

impl Stream {
    /// Returns the id of a simulated socket.
    #[cfg(feature = "sim")]
    pub(crate) fn sim_id(&self) -> Option<sim::SocketId> {
        match self {
            Self::Os(_) => None,
            Self::Sim(stream) => Some(stream.id()),
        }
    }

    /// Tells the delivery check of a simulated socket that the framing of the
    /// connection changes.
    pub(crate) fn note_framing(&self, framing: &Framing) {
        dispatch!(self, stream => stream.note_framing(framing))
    }

    /// Returns whether an event that reports room for writing, and neither an
    /// error nor the end of the stream, means that the connect has succeeded.
    #[inline]
    pub(crate) fn writable_means_connected(&self) -> bool {
        mutant!(TrustEachEvent => return true);
        dispatch!(self, stream => stream.writable_means_connected())
    }

    /// Returns the local address if the stream is connected, and `None` if the
    /// connect is still in progress.
    ///
    /// # Errors
    ///
    /// The error with which the attempt to connect failed.
    #[inline]
    pub(crate) fn connected(&self) -> io::Result<Option<SocketAddr>> {
        dispatch!(self, stream => stream.connected())
    }

    /// Returns the socket of the operating system.
    #[cfg(unix)]
    pub(crate) fn as_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        match self {
            Self::Os(stream) => Some(stream.as_fd()),
            #[cfg(feature = "sim")]
            Self::Sim(_) => None,
        }
    }

    /// Returns the socket of the operating system.
    #[cfg(windows)]
    pub(crate) fn as_socket(&self) -> Option<std::os::windows::io::BorrowedSocket<'_>> {
        match self {
            Self::Os(stream) => Some(stream.as_socket()),
            #[cfg(feature = "sim")]
            Self::Sim(_) => None,
        }
    }

    /// Sets the options of an established connection.
    #[inline]
    pub(crate) fn set_options(&self, options: &SocketOptions) -> io::Result<()> {
        dispatch!(self, stream => stream.set_options(options))
    }

    #[inline]
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        dispatch!(self, stream => stream.local_addr())
    }

    /// Takes the error that broke the connection. After the peer's end of
    /// stream no read reports it: reads continue to return 0.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        dispatch!(self, stream => stream.take_error())
    }

    /// Returns whether the peer closed its sending side and no byte is left to
    /// read. Takes no bytes from the stream.
    ///
    /// # Errors
    ///
    /// The error that broke the connection, if no byte is left to read.
    pub(crate) fn is_at_end(&self) -> io::Result<bool> {
        dispatch!(self, stream => stream.is_at_end())
    }

    /// Returns whether a read that did not fill its buffer has emptied the
    /// socket, so that later data is a new event. If not, the next event
    /// follows only after a read that returned `WouldBlock`.
    #[inline]
    pub(crate) fn short_read_is_empty(&self) -> bool {
        mutant!(NoEdgeWithoutWouldBlock => return true);
        match self {
            Self::Os(stream) => stream.short_read_is_empty(),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.short_read_is_empty(),
        }
    }

    /// Returns whether a write that was not taken whole has filled the socket,
    /// so that room is a new event. If not, the next event follows only after a
    /// write that returned `WouldBlock`.
    #[inline]
    pub(crate) fn short_write_is_full(&self) -> bool {
        mutant!(NoRoomEdgeWithoutWouldBlock => return true);
        match self {
            Self::Os(stream) => stream.short_write_is_full(),
            #[cfg(feature = "sim")]
            Self::Sim(stream) => stream.short_write_is_full(),
        }
    }

    #[inline]
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        dispatch!(self, stream => stream.read(buffer))
    }

    #[inline]
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        dispatch!(self, stream => stream.write(slices))
    }

    /// Sends FIN.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        dispatch!(self, stream => stream.shutdown_write())
    }

    /// Makes the next close a reset: the kernel discards unsent bytes, and the
    /// peer receives RST.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        dispatch!(self, stream => stream.reset_on_close())
    }
}
