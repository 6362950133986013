//! TCP streams of the operating system.

use std::cell::Cell;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::alive::{set_keepalive, set_user_timeout};
use super::facts::{
    PEER_SHOWS_CONNECTED, SHORT_READ_IS_EMPTY, SHORT_WRITE_IS_FULL, WRITABLE_MEANS_CONNECTED,
};
use crate::config::{Config, Keepalive};
use crate::framing::Framing;

/// The options that are set on the socket of each connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketOptions {
    nodelay: bool,
    keepalive: Option<Keepalive>,
    user_timeout: Option<Duration>,
    pub(in crate::sys) send_buffer: Option<usize>,
    pub(in crate::sys) receive_buffer: Option<usize>,
}

impl SocketOptions {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            nodelay: config.sockets.nodelay,
            keepalive: config.sockets.keepalive,
            user_timeout: config.sockets.user_timeout,
            send_buffer: config.sockets.send_buffer_bytes,
            receive_buffer: config.sockets.receive_buffer_bytes,
        }
    }

    /// Sets the sizes of the buffers. They are set before the connection is
    /// established, because the first segment fixes the window scale.
    pub(super) fn set_buffers(&self, socket: SockRef<'_>) -> io::Result<()> {
        if let Some(size) = self.send_buffer {
            socket.set_send_buffer_size(size)?;
        }
        if let Some(size) = self.receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        Ok(())
    }

    /// Sets the options that some systems accept only on an established
    /// connection.
    pub(super) fn set_others(&self, socket: SockRef<'_>) -> io::Result<()> {
        // Apple's sendmsg(2) has no MSG_NOSIGNAL. A socket that the program
        // created may lack the option.
        #[cfg(target_vendor = "apple")]
        socket.set_nosigpipe(true)?;
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(keepalive) = &self.keepalive {
            set_keepalive(&socket, keepalive)?;
        }
        if let Some(time) = self.user_timeout {
            set_user_timeout(&socket, time)?;
        }
        Ok(())
    }
}

/// A non-blocking TCP connection.
#[derive(Debug)]
pub(crate) struct OsStream {
    pub(super) socket: TcpStream,
    /// The library has opened the socket, and the program has not asked for its
    /// descriptor. Thus no other descriptor refers to it, and its options are
    /// known.
    pub(super) is_own: Cell<bool>,
    /// Room for writing is reported.
    pub(super) watches_room: bool,
}

impl OsStream {
    /// Wraps a socket that accept(2) has returned.
    pub(super) fn accepted(socket: TcpStream) -> Self {
        Self {
            socket,
            is_own: Cell::new(true),
            watches_room: false,
        }
    }

    /// Starts connecting. The outcome is reported as writability; see
    /// [`OsStream::connected`].
    pub(crate) fn connect(
        addr: SocketAddr,
        socket: Option<std::net::TcpStream>,
        source: Option<SocketAddr>,
        options: &SocketOptions,
    ) -> io::Result<Self> {
        let is_own = Cell::new(socket.is_none());
        let socket = match socket {
            Some(socket) => {
                let socket = Socket::from(socket);
                socket.set_nonblocking(true)?;
                socket
            }
            None => {
                let socket = new_nonblocking(addr)?;
                if let Some(source) = source {
                    socket.bind(&source.into())?;
                }
                options.set_buffers(SockRef::from(&socket))?;
                socket
            }
        };
        match socket.connect(&addr.into()) {
            Err(error) if !is_in_progress(&error) => Err(error),
            _ => Ok(Self {
                socket: TcpStream::from_std(socket.into()),
                is_own,
                watches_room: true,
            }),
        }
    }

    /// Adopts a connected stream. Returns it and the address of its other end.
    pub(crate) fn adopt(
        stream: std::net::TcpStream,
        options: &SocketOptions,
    ) -> io::Result<(Self, SocketAddr)> {
        let addr = stream.peer_addr()?;
        stream.set_nonblocking(true)?;
        options.set_others(SockRef::from(&stream))?;
        let stream = Self {
            socket: TcpStream::from_std(stream),
            is_own: Cell::new(false),
            watches_room: false,
        };
        Ok((stream, addr))
    }

    /// Returns whether an event that only reports room for writing means that
    /// the connection is established.
    pub(crate) fn writable_means_connected(&self) -> bool {
        WRITABLE_MEANS_CONNECTED && self.is_own.get()
    }

    /// Returns the local address if the connection is established, and `None`
    /// if it is still in progress.
    pub(crate) fn connected(&self) -> io::Result<Option<SocketAddr>> {
        if !PEER_SHOWS_CONNECTED {
            self.check_error()?;
        }
        let Err(error) = self.socket.peer_addr() else {
            return self.socket.local_addr().map(Some);
        };
        if PEER_SHOWS_CONNECTED {
            self.check_error()?;
        }
        if error.kind() == io::ErrorKind::NotConnected || is_in_progress(&error) {
            return Ok(None);
        }
        Err(error)
    }

    /// Returns the pending error, for instance that of a failed attempt to
    /// connect.
    fn check_error(&self) -> io::Result<()> {
        self.socket.take_error()?.map_or(Ok(()), Err)
    }

    /// Returns the descriptor for the program, which may duplicate it.
    #[cfg(unix)]
    pub(crate) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.is_own.set(false);
        std::os::fd::AsFd::as_fd(&self.socket)
    }

    /// Returns the socket for the program, which may duplicate it.
    #[cfg(windows)]
    pub(crate) fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.is_own.set(false);
        std::os::windows::io::AsSocket::as_socket(&self.socket)
    }

    /// Sets the options of an established connection.
    pub(crate) fn set_options(&self, options: &SocketOptions) -> io::Result<()> {
        options.set_others(SockRef::from(&self.socket))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Takes the error that broke the connection.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.socket.take_error().unwrap_or_else(Some)
    }

    /// Returns whether the peer closed its sending side and no byte is left to
    /// read.
    ///
    /// # Errors
    ///
    /// The error that broke the connection, if no byte is left to read.
    pub(crate) fn is_at_end(&self) -> io::Result<bool> {
        match self.socket.peek(&mut [0]) {
            Ok(count) => Ok(count == 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a read that did not fill its buffer has emptied the
    /// socket.
    pub(crate) fn short_read_is_empty(&self) -> bool {
        SHORT_READ_IS_EMPTY
    }

    /// Returns whether a write that was not taken whole has filled the socket.
    pub(crate) fn short_write_is_full(&self) -> bool {
        SHORT_WRITE_IS_FULL
    }

    /// Has no effect, because deliveries are checked in the simulator only.
    pub(crate) fn note_framing(&self, _: &Framing) {}

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }

    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            // std passes MSG_NOSIGNAL, or has set SO_NOSIGPIPE.
            [slice] => self.socket.write(slice),
            slices => self.write_gathered(slices),
        }
    }

    /// Writes by sendmsg(2). A write to a connection that was reset raises
    /// SIGPIPE, which by default ends the process (writev(2), signal(7)). A
    /// flag of sendmsg(2) prevents that; writev(2) has no flags.
    #[cfg(all(unix, not(target_vendor = "apple")))]
    fn write_gathered(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // mio needs the result: after `WouldBlock` it adds the interest again.
        self.socket.try_io(|| {
            SockRef::from(&self.socket).send_vectored_with_flags(slices, libc::MSG_NOSIGNAL)
        })
    }

    /// Writes by writev(2). Windows has no SIGPIPE, and on Apple's systems no
    /// socket of the library raises it (`SocketOptions::set_others`).
    #[cfg(not(all(unix, not(target_vendor = "apple"))))]
    fn write_gathered(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.write_vectored(slices)
    }

    /// Sends FIN.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// Makes the next close a reset.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO))
    }
}

/// Returns a new socket to connect with. Where the system can make it
/// non-blocking from the start, that saves two calls.
fn new_nonblocking(addr: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(addr);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP));
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// Returns whether `connect` has started and is in progress.
fn is_in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    let in_progress = error.raw_os_error() == Some(libc::EINPROGRESS);
    // Winsock returns WSAEWOULDBLOCK.
    #[cfg(not(unix))]
    let in_progress = false;
    in_progress || error.kind() == io::ErrorKind::WouldBlock
}
