//! Connections of the system.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::config::Config;

/// What is set on every connection's socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketOptions {
    nodelay: bool,
    keepalive: Option<Duration>,
    pub(in crate::sys) send_buffer: Option<usize>,
    pub(in crate::sys) receive_buffer: Option<usize>,
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
    pub(super) fn set_buffers(&self, socket: SockRef<'_>) -> io::Result<()> {
        if let Some(size) = self.send_buffer {
            socket.set_send_buffer_size(size)?;
        }
        if let Some(size) = self.receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        Ok(())
    }

    /// What can only be set on an established connection on every system.
    pub(super) fn set_others(&self, socket: SockRef<'_>) -> io::Result<()> {
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(time) = self.keepalive {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(time))?;
        }
        Ok(())
    }
}

/// Whether accepted connections have the options of their listener (Linux, tcp(7)), which spares a call for each.
pub(super) const INHERITS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// A non-blocking TCP connection.
#[derive(Debug)]
pub(crate) struct OsStream(pub(super) TcpStream);

impl OsStream {
    /// Begins to connect. The outcome follows as writability; see [`OsStream::connected`].
    pub(crate) fn connect(
        addr: SocketAddr,
        socket: Option<Socket>,
        source: Option<SocketAddr>,
        options: &SocketOptions,
    ) -> io::Result<Self> {
        let socket = match socket {
            Some(socket) => {
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
            _ => Ok(Self(TcpStream::from_std(socket.into()))),
        }
    }

    /// Whether the connection that was begun is made; its local address then.
    pub(crate) fn connected(&self) -> io::Result<Option<SocketAddr>> {
        match self.0.peer_addr() {
            Ok(_) => self.0.local_addr().map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotConnected || is_in_progress(&error) => {
                // Why it has failed, if it has.
                self.0.take_error()?.map_or(Ok(None), Err)
            }
            Err(error) => Err(error),
        }
    }

    /// Sets the options of a connection that was dialled.
    pub(crate) fn set_up_outbound(&self, options: &SocketOptions) -> io::Result<()> {
        options.set_others(SockRef::from(&self.0))
    }

    /// Sets the options of a connection that was accepted, as far as it does not have them from its listener.
    pub(crate) fn set_up_inbound(&self, options: &SocketOptions) -> io::Result<()> {
        if INHERITS {
            Ok(())
        } else {
            options.set_others(SockRef::from(&self.0))
        }
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

/// A socket to dial with. Where the system can make it non-blocking from the beginning, that spares two calls.
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
