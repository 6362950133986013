//! Sessions for tests: a greeting in the clear and a toy cipher, and raw peers that speak them.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of it"
)]

use std::io::{ErrorKind, IoSlice, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use peerloop::error::SessionError;
use peerloop::session::{Identity, Output, Session, Stage};
use peerloop::{ConnId, Direction, Net};

use super::{PATIENCE, Recorder, TestNode};

pub use super::frame;

/// A recorder whose every connection gets a session of this kind.
pub fn with_sessions<S: Session + 'static>(
    mut recorder: Recorder,
    mut make: impl FnMut(Direction) -> S + Send + 'static,
) -> Recorder {
    recorder.sessions = Box::new(move |net: &mut Net, conn: ConnId| {
        let side = net
            .connection(conn)
            .expect("it is asked for it")
            .info()
            .direction;
        Ok(Some(Box::new(make(side))))
    });
    recorder
}

/// What both sides of a [`Greeting`] say.
pub const MAGIC: [u8; 4] = *b"game";

/// What is said to one that is turned away.
pub const ALERT: [u8; 4] = *b"away";

/// How a [`Greeting`] behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    Agrees,
    /// Turns everybody away, and says so.
    Rejects,
    /// Takes nothing and says nothing.
    Silent,
    PanicsInStart,
    PanicsInReceive,
    PanicsInIdentity,
}

/// A magic number both ways, and then plain TCP.
pub struct Greeting {
    manner: Manner,
    stage: Stage,
}

impl Greeting {
    pub fn new(manner: Manner) -> Self {
        Self {
            manner,
            stage: Stage::Handshaking,
        }
    }
}

impl Session for Greeting {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        assert_ne!(self.manner, Manner::PanicsInStart, "as the test wants it");
        if !matches!(self.manner, Manner::Silent | Manner::Rejects) {
            wire.extend(MAGIC);
        }
        Ok(())
    }

    fn receive(
        &mut self,
        bytes: &mut [u8],
        output: &mut Output<'_>,
    ) -> Result<usize, SessionError> {
        assert_ne!(self.manner, Manner::PanicsInReceive, "as the test wants it");
        if self.manner == Manner::Silent {
            return Ok(0);
        }
        match bytes.first_chunk() {
            None => Ok(0),
            Some(&ALERT) => Err(SessionError::RefusedByPeer("greeting")),
            Some(&MAGIC) if self.manner != Manner::Rejects => {
                self.stage = Stage::Transparent;
                Ok(MAGIC.len())
            }
            Some(_) => {
                output.wire.extend(ALERT);
                Err(SessionError::Refused("greeting"))
            }
        }
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    fn identity(&self) -> Option<Identity> {
        assert_ne!(
            self.manner,
            Manner::PanicsInIdentity,
            "as the test wants it"
        );
        let mut identity = Identity::default();
        identity.protocol = Some(MAGIC.to_vec());
        Some(identity)
    }
}

/// What a record of [`Xor`] carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    Data,
    CloseNotify,
    /// Asks for [`Kind::Pong`].
    Ping,
    Pong,
    Alert,
}

const HELLO: &[u8] = b"xor";
pub const HELLO_LEN: usize = 3 + KEY_LEN;
const KEY_LEN: usize = 8;
const DATA_MAX: usize = 16 * 1024;

/// A toy cipher with everything a real one has: a key from each side, records with a checksum that counts, a close notification.
/// The initiator speaks first.
///
/// ```text
///   ┌─────────────┬───────────────── xor-ed ─────────────────┐
///   │ length: 2   │ kind: 1 │ body          │ checksum: 4    │
///   └─────────────┴──────────────────────────────────────────┘
/// ```
pub struct Xor {
    side: Direction,
    stage: Stage,
    key: [u8; KEY_LEN],
    their_key: [u8; KEY_LEN],
    sealed: u64,
    opened: u64,
    /// Bytes of plaintext in a record, at most. With few, what is sealed is much longer than what was to be said.
    pub data_max: usize,
    /// How many pings it has still to send, one with each batch that it seals.
    pub asks: u32,
    /// Bytes of the answer to a ping.
    pub pong_len: usize,
    /// Panic, or give an error with an alert, at the next `seal`.
    pub seal_fails: Option<SealFault>,
    pub identity_panics: Option<()>,
    /// Counts the calls of `receive`.
    pub receives: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealFault {
    Error,
    Panic,
    Nothing,
}

impl Xor {
    pub fn new(side: Direction) -> Self {
        let key = match side {
            Direction::Outbound => *b"outbound",
            Direction::Inbound => *b"accepted",
        };
        Self {
            side,
            stage: Stage::Handshaking,
            key,
            their_key: [0; KEY_LEN],
            sealed: 0,
            opened: 0,
            data_max: DATA_MAX,
            asks: 0,
            pong_len: 1,
            seal_fails: None,
            identity_panics: None,
            receives: Arc::default(),
        }
    }

    /// Appends a record.
    pub fn record(&mut self, kind: Kind, body: &[u8], wire: &mut Vec<u8>) {
        let len = u16::try_from(1 + body.len() + 4).expect("a short body");
        let begin = wire.len() + 2;
        wire.extend(len.to_be_bytes());
        wire.push(kind as u8);
        wire.extend(body);
        let sum = checksum(self.sealed, &wire[begin..]);
        wire.extend(sum.to_be_bytes());
        xor(&mut wire[begin..], &self.key);
        self.sealed += 1;
    }

    fn hello(&mut self, bytes: &[u8], wire: &mut Vec<u8>) -> Result<usize, SessionError> {
        let known = bytes.len().min(HELLO.len());
        if bytes[..known] != HELLO[..known] {
            wire.extend(ALERT);
            return Err(SessionError::Malformed("no hello"));
        }
        let Some(key) = bytes.get(HELLO.len()..HELLO_LEN) else {
            return Ok(0);
        };
        self.their_key.copy_from_slice(key);
        self.stage = Stage::Established;
        if self.side == Direction::Inbound {
            wire.extend(HELLO);
            wire.extend(self.key);
        }
        Ok(HELLO_LEN)
    }

    /// Opens the record at the start of `bytes` in place, if it is whole; how long it is.
    fn open(&mut self, bytes: &mut [u8], output: &mut Output<'_>) -> Result<usize, SessionError> {
        let Some((len, rest)) = bytes.split_first_chunk_mut() else {
            return Ok(0);
        };
        let len = usize::from(u16::from_be_bytes(*len));
        let Some(record) = rest.get_mut(..len) else {
            return Ok(0);
        };
        xor(record, &self.their_key);
        let sum = record.split_last_chunk().map(|(_, sum)| *sum);
        let content = &record[..len.saturating_sub(4)];
        if sum.map(u32::from_be_bytes) != Some(checksum(self.opened, content)) {
            self.record(Kind::Alert, b"forged", output.wire);
            return Err(SessionError::Malformed("checksum"));
        }
        self.opened += 1;
        match content.split_first() {
            Some((kind, body)) if *kind == Kind::Data as u8 => output.plaintext.extend(body),
            Some((kind, _)) if *kind == Kind::CloseNotify as u8 => self.stage = Stage::Finished,
            Some((kind, _)) if *kind == Kind::Ping as u8 => {
                let mut left = self.pong_len;
                while left > 0 {
                    let len = left.min(DATA_MAX);
                    self.record(Kind::Pong, &vec![0; len], output.wire);
                    left -= len;
                }
            }
            Some((kind, _)) if *kind == Kind::Pong as u8 => {}
            _ => return Err(SessionError::RefusedByPeer("alert")),
        }
        Ok(2 + len)
    }
}

impl Session for Xor {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        if self.side == Direction::Outbound {
            wire.extend(HELLO);
            wire.extend(self.key);
        }
        Ok(())
    }

    fn receive(
        &mut self,
        bytes: &mut [u8],
        output: &mut Output<'_>,
    ) -> Result<usize, SessionError> {
        self.receives.fetch_add(1, Ordering::Relaxed);
        let mut taken = 0;
        if self.stage == Stage::Handshaking {
            taken = self.hello(bytes, output.wire)?;
        }
        while self.stage == Stage::Established {
            match self.open(&mut bytes[taken..], output)? {
                0 => break,
                len => taken += len,
            }
        }
        Ok(taken)
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        match self.seal_fails {
            Some(SealFault::Error) => {
                self.record(Kind::Alert, b"sealing", wire);
                return Err(SessionError::Failed("as the test wants it"));
            }
            Some(SealFault::Panic) => panic!("as the test wants it"),
            Some(SealFault::Nothing) => return Ok(()),
            None => {}
        }
        for slice in plaintext {
            for piece in slice.chunks(self.data_max) {
                self.record(Kind::Data, piece, wire);
            }
        }
        if self.asks > 0 {
            self.asks -= 1;
            self.record(Kind::Ping, b"", wire);
        }
        Ok(())
    }

    fn close_notify(&mut self, wire: &mut Vec<u8>) {
        self.record(Kind::CloseNotify, b"", wire);
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        match self.stage {
            Stage::Established => Err(SessionError::Truncated),
            _ => Ok(()),
        }
    }

    fn identity(&self) -> Option<Identity> {
        assert_eq!(self.identity_panics, None, "as the test wants it");
        let mut identity = Identity::default();
        identity.public_key = Some(self.their_key.to_vec());
        Some(identity)
    }
}

fn checksum(number: u64, bytes: &[u8]) -> u32 {
    let start = 0x811c_9dc5 ^ number as u32;
    bytes.iter().fold(start, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

fn xor(bytes: &mut [u8], key: &[u8; KEY_LEN]) {
    for (byte, key) in bytes.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// What a call of a session appends to the wire.
pub fn spoken(call: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut wire = Vec::new();
    call(&mut wire);
    wire
}

/// The raw side of a sealed connection: what it says, and what it hears.
pub struct Script {
    pub session: Xor,
    pub heard: Vec<u8>,
    rest: Vec<u8>,
}

impl Script {
    pub fn new(side: Direction) -> Self {
        Self {
            session: Xor::new(side),
            heard: Vec::new(),
            rest: Vec::new(),
        }
    }

    pub fn hello(&mut self) -> Vec<u8> {
        spoken(|wire| self.session.start(wire).expect("it does not fail"))
    }

    /// The keys are as agreed, without a word of the other side having been read.
    pub fn agreed(mut self) -> Self {
        let other = match self.session.side {
            Direction::Outbound => Direction::Inbound,
            Direction::Inbound => Direction::Outbound,
        };
        self.session.their_key = Xor::new(other).key;
        self.session.stage = Stage::Established;
        self
    }

    /// A frame in a record.
    pub fn sealed_frame(&mut self, body: &[u8]) -> Vec<u8> {
        self.record(Kind::Data, &frame(body))
    }

    pub fn record(&mut self, kind: Kind, body: &[u8]) -> Vec<u8> {
        spoken(|wire| self.session.record(kind, body, wire))
    }

    /// Takes what came from the wire; the plaintext so far is in `heard`.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.rest.extend(bytes);
        let mut wire = Vec::new();
        let mut output = Output::new(&mut self.heard, &mut wire);
        let taken = self.session.receive(&mut self.rest, &mut output)?;
        self.rest.drain(..taken);
        Ok(())
    }

    pub fn stage(&self) -> Stage {
        self.session.stage
    }
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Fin,
    Reset,
}

/// Runs the node while a raw peer reads, until the peer has what it waits for.
#[track_caller]
pub fn listen_until(
    node: &mut TestNode,
    peer: &mut TcpStream,
    mut condition: impl FnMut(&[u8], Option<End>) -> bool,
) -> (Vec<u8>, Option<End>) {
    let limit = Instant::now() + PATIENCE;
    let (mut heard, mut end) = (Vec::new(), None);
    let mut room = vec![0; 64 * 1024];
    peer.set_nonblocking(true).expect("a socket");
    while !condition(&heard, end) {
        assert!(
            Instant::now() < limit,
            "it did not come: {} bytes, {end:?}, {:?}",
            heard.len(),
            node.handler().events.last()
        );
        let _ = node.turn(Some(Duration::from_millis(1))).expect("a turn");
        while end.is_none() {
            match peer.read(&mut room) {
                Ok(0) => end = Some(End::Fin),
                Ok(count) => heard.extend(&room[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => end = Some(End::Reset),
            }
        }
    }
    peer.set_nonblocking(false).expect("a socket");
    (heard, end)
}

/// Runs the node until the raw peer has read the end of the stream; all it heard, and which end.
#[track_caller]
pub fn listen_to_end(node: &mut TestNode, peer: &mut TcpStream) -> (Vec<u8>, End) {
    let (heard, end) = listen_until(node, peer, |_, end| end.is_some());
    (heard, end.expect("it has ended"))
}
