//! The limits to compare with: two blocking threads with rustls, and two with
//! snow, the same framing, no loop.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use peerloop::tls::rustls::{ClientConnection, ServerConnection, StreamOwned};
use socket2::SockRef;

use super::security::{Security, name};
use crate::support::blocking::{receive, send};

/// Bytes of plaintext that one Noise message carries.
const NOISE_MAX: usize = 65_519;

const NOISE_XX: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";

/// A stream that seals.
pub enum Sealed {
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
    Noise(Box<NoiseStream>),
}

pub struct NoiseStream {
    stream: TcpStream,
    state: snow::TransportState,
    wire: Vec<u8>,
    plain: Vec<u8>,
    /// `plain[start..]` has not been read.
    start: usize,
}

/// Connects and completes the handshake.
pub fn connect(security: &Security, addr: SocketAddr) -> io::Result<Sealed> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    match security {
        Security::Plain => Err(io::Error::other("the plain pair is another")),
        Security::Tls(config, _) => {
            let mut tls =
                ClientConnection::new(Arc::clone(config), name()).map_err(io::Error::other)?;
            while tls.is_handshaking() {
                tls.complete_io(&mut stream)?;
            }
            Ok(Sealed::Client(Box::new(StreamOwned::new(tls, stream))))
        }
        Security::Noise(key) => {
            let state = builder(key.secret())?
                .build_initiator()
                .map_err(io::Error::other)?;
            shake(stream, state).map(|noise| Sealed::Noise(Box::new(noise)))
        }
    }
}

/// Accepts and completes the handshake.
pub fn accept(security: &Security, listener: &TcpListener) -> io::Result<Sealed> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    match security {
        Security::Plain => Err(io::Error::other("the plain pair is another")),
        Security::Tls(_, config) => {
            let mut tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
            while tls.is_handshaking() {
                tls.complete_io(&mut stream)?;
            }
            Ok(Sealed::Server(Box::new(StreamOwned::new(tls, stream))))
        }
        Security::Noise(key) => {
            let state = builder(key.secret())?
                .build_responder()
                .map_err(io::Error::other)?;
            shake(stream, state).map(|noise| Sealed::Noise(Box::new(noise)))
        }
    }
}

fn builder(secret: &[u8; 32]) -> io::Result<snow::Builder<'_>> {
    let params = NOISE_XX.parse().map_err(io::Error::other)?;
    snow::Builder::new(params)
        .local_private_key(secret)
        .map_err(io::Error::other)
}

fn shake(mut stream: TcpStream, mut state: snow::HandshakeState) -> io::Result<NoiseStream> {
    let mut wire = vec![0; 2 + usize::from(u16::MAX)];
    let mut plain = vec![0; usize::from(u16::MAX)];
    while !state.is_handshake_finished() {
        if state.is_my_turn() {
            let len = state
                .write_message(&[], &mut wire[2..])
                .map_err(io::Error::other)?;
            wire[..2].copy_from_slice(&(len as u16).to_be_bytes());
            stream.write_all(&wire[..2 + len])?;
        } else {
            let len = read_message(&mut stream, &mut wire)?;
            state
                .read_message(&wire[..len], &mut plain)
                .map_err(io::Error::other)?;
        }
    }
    Ok(NoiseStream {
        stream,
        state: state.into_transport_mode().map_err(io::Error::other)?,
        wire,
        plain: Vec::new(),
        start: 0,
    })
}

fn read_message(stream: &mut TcpStream, wire: &mut [u8]) -> io::Result<usize> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let len = usize::from(u16::from_be_bytes(head));
    stream.read_exact(&mut wire[..len])?;
    Ok(len)
}

impl Sealed {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Client(tls) => &tls.sock,
            Self::Server(tls) => &tls.sock,
            Self::Noise(noise) => &noise.stream,
        }
    }

    /// Ends with a reset, so that a benchmark does not run out of ports.
    pub fn reset(self) {
        let _ = SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }
}

impl Read for Sealed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Client(tls) => tls.read(into),
            Self::Server(tls) => tls.read(into),
            Self::Noise(noise) => noise.read(into),
        }
    }
}

impl Write for Sealed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Client(tls) => tls.write(bytes),
            Self::Server(tls) => tls.write(bytes),
            Self::Noise(noise) => {
                let chunk = &bytes[..bytes.len().min(NOISE_MAX)];
                noise.write(chunk).map(|()| chunk.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Client(tls) => tls.flush(),
            Self::Server(tls) => tls.flush(),
            Self::Noise(_) => Ok(()),
        }
    }
}

impl NoiseStream {
    fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        let len = self
            .state
            .write_message(chunk, &mut self.wire[2..])
            .map_err(io::Error::other)?;
        self.wire[..2].copy_from_slice(&(len as u16).to_be_bytes());
        self.stream.write_all(&self.wire[..2 + len])
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.start == self.plain.len() {
            let len = match read_message(&mut self.stream, &mut self.wire) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => result?,
            };
            self.plain.resize(usize::from(u16::MAX), 0);
            let len = self
                .state
                .read_message(&self.wire[..len], &mut self.plain)
                .map_err(io::Error::other)?;
            self.plain.truncate(len);
            self.start = 0;
        }
        let rest = &self.plain[self.start..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.start += count;
        Ok(count)
    }
}

/// A sealed connection whose other end, in another thread, answers with one byte
/// after every `messages` frames.
pub struct SealedPair {
    stream: Sealed,
    reader: Option<thread::JoinHandle<io::Result<()>>>,
}

impl SealedPair {
    pub fn new(security: &Security, messages: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let theirs = security.clone();
        let reader = thread::spawn(move || receive(accept(&theirs, &listener)?, messages));
        Ok(Self {
            stream: connect(security, addr)?,
            reader: Some(reader),
        })
    }

    /// Sends that many frames and waits for the answer.
    pub fn transfer(&mut self, messages: u64, body: &[u8]) -> io::Result<()> {
        send(&mut self.stream, messages, body)
    }
}

impl Drop for SealedPair {
    fn drop(&mut self) {
        let _ = self.stream.socket().shutdown(std::net::Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
