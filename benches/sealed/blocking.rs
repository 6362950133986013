//! The limit to compare with: blocking sockets with rustls or snow, the same
//! framing, a thread for each end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use peerloop::tls::rustls::{ClientConnection, ServerConnection, StreamOwned};
use snow::{Builder, HandshakeState, TransportState};
use socket2::SockRef;

use super::security::{Security, name};
use crate::support::{Job, blocking, failed};

/// Maximum length of a Noise message, and of the plaintext in it.
const NOISE_MESSAGE: usize = 65_535;
const NOISE_PLAINTEXT: usize = NOISE_MESSAGE - 16;

const NOISE_XX: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";

trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

/// A stream after the handshake.
pub struct Sealed {
    stream: Box<dyn Duplex>,
    socket: TcpStream,
}

impl Sealed {
    /// Resets the connection, so that a benchmark does not run out of ports.
    pub fn reset(self) {
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }

    /// Waits until the peer has closed or reset the connection.
    pub fn wait_for_end(mut self) {
        let _ = self.socket.read(&mut [0]);
    }
}

impl Read for Sealed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into)
    }
}

impl Write for Sealed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Connects and completes the handshake.
pub fn connect(security: &Security, addr: SocketAddr) -> io::Result<Sealed> {
    let mut socket = TcpStream::connect(addr)?;
    socket.set_nodelay(true)?;
    Ok(Sealed {
        socket: socket.try_clone()?,
        stream: match security {
            Security::Tls(config, _) => {
                let tls = ClientConnection::new(Arc::clone(config), name());
                let mut tls = tls.map_err(io::Error::other)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut socket)?;
                }
                Box::new(StreamOwned::new(tls, socket))
            }
            Security::Noise(key) => {
                let state = builder(key.secret())?.build_initiator();
                Box::new(NoiseStream::new(socket, state.map_err(io::Error::other)?)?)
            }
        },
    })
}

/// Accepts and completes the handshake.
pub fn accept(security: &Security, listener: &TcpListener) -> io::Result<Sealed> {
    let (mut socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    Ok(Sealed {
        socket: socket.try_clone()?,
        stream: match security {
            Security::Tls(_, config) => {
                let tls = ServerConnection::new(Arc::clone(config));
                let mut tls = tls.map_err(io::Error::other)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut socket)?;
                }
                Box::new(StreamOwned::new(tls, socket))
            }
            Security::Noise(key) => {
                let state = builder(key.secret())?.build_responder();
                Box::new(NoiseStream::new(socket, state.map_err(io::Error::other)?)?)
            }
        },
    })
}

fn builder(secret: &[u8; 32]) -> io::Result<Builder<'_>> {
    let params = NOISE_XX.parse().map_err(io::Error::other)?;
    let builder = Builder::new(params).local_private_key(secret);
    builder.map_err(io::Error::other)
}

struct NoiseStream {
    socket: TcpStream,
    state: TransportState,
    wire: Vec<u8>,
    plain: Vec<u8>,
    /// `plain[start..end]` has not been read.
    start: usize,
    end: usize,
}

impl NoiseStream {
    /// Completes the handshake.
    fn new(mut socket: TcpStream, mut state: HandshakeState) -> io::Result<Self> {
        let mut wire = vec![0; 2 + NOISE_MESSAGE];
        let mut plain = vec![0; NOISE_MESSAGE];
        while !state.is_handshake_finished() {
            if state.is_my_turn() {
                let len = state.write_message(&[], &mut wire[2..]);
                write_message(&mut socket, &mut wire, len.map_err(io::Error::other)?)?;
            } else {
                let len = read_message(&mut socket, &mut wire)?;
                let read = state.read_message(&wire[..len], &mut plain);
                read.map_err(io::Error::other)?;
            }
        }
        Ok(Self {
            socket,
            state: state.into_transport_mode().map_err(io::Error::other)?,
            wire,
            plain,
            start: 0,
            end: 0,
        })
    }
}

/// Writes the message of `len` bytes that begins after the room for its length.
fn write_message(socket: &mut TcpStream, wire: &mut [u8], len: usize) -> io::Result<()> {
    wire[..2].copy_from_slice(&(len as u16).to_be_bytes());
    socket.write_all(&wire[..2 + len])
}

/// Reads a message into the front of `wire` and returns its length.
fn read_message(socket: &mut TcpStream, wire: &mut [u8]) -> io::Result<usize> {
    let mut header = [0; 2];
    socket.read_exact(&mut header)?;
    let len = usize::from(u16::from_be_bytes(header));
    socket.read_exact(&mut wire[..len])?;
    Ok(len)
}

impl Read for NoiseStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end {
            let len = match read_message(&mut self.socket, &mut self.wire) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                result => result?,
            };
            let opened = self.state.read_message(&self.wire[..len], &mut self.plain);
            (self.start, self.end) = (0, opened.map_err(io::Error::other)?);
        }
        let unread = &self.plain[self.start..self.end];
        let count = unread.len().min(into.len());
        into[..count].copy_from_slice(&unread[..count]);
        self.start += count;
        Ok(count)
    }
}

impl Write for NoiseStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = &bytes[..bytes.len().min(NOISE_PLAINTEXT)];
        let len = self.state.write_message(chunk, &mut self.wire[2..]);
        write_message(
            &mut self.socket,
            &mut self.wire,
            len.map_err(io::Error::other)?,
        )?;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends `amount` messages on one connection.
pub fn stream(size: usize, security: &Security) -> io::Result<Box<dyn Job>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let theirs = security.clone();
    let accepting = thread::spawn(move || accept(&theirs, &listener));
    let from = connect(security, addr)?;
    let to = accepting.join();
    let to = to.map_err(|_| failed("the accepting thread panicked"))??;
    let socket = from.socket.try_clone()?;
    Ok(blocking::stream_between(size, from, to, socket))
}
