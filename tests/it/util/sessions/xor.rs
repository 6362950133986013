//! A toy cipher.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use peerloop::Direction;
use peerloop::error::SessionError;
use peerloop::session::{Identity, Output, Session, Stage};

use super::ALERT;

/// The content of a record of [`Xor`].
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

/// A toy cipher with a key of each side, records with a checksum that includes
/// their number, and a close notification. The initiator sends its hello first.
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
    /// Maximum plaintext of a record, in bytes. With few, the sealed form is much
    /// longer than the plaintext.
    pub data_max: usize,
    /// Number of pings to send, one with each batch that is sealed.
    pub asks: u32,
    /// Length of the answer to a ping, in bytes.
    pub pong_len: usize,
    pub seal_fails: Option<SealFault>,
    /// Counts the calls of `receive`.
    pub receives: Arc<AtomicUsize>,
}

/// The outcome of a `seal` that fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealFault {
    Error,
    Panic,
    Nothing,
}

impl Xor {
    pub fn new(side: Direction) -> Self {
        let key = key_of(side);
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
            receives: Arc::default(),
        }
    }

    /// An outbound end that has sent its hello and needs none of the other end.
    pub fn agreed() -> Self {
        let mut session = Self::new(Direction::Outbound);
        session.their_key = key_of(Direction::Inbound);
        session.stage = Stage::Established;
        session
    }

    /// Returns a record.
    pub fn record(&mut self, kind: Kind, body: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        self.append_record(kind, body, &mut wire);
        wire
    }

    fn append_record(&mut self, kind: Kind, body: &[u8], wire: &mut Vec<u8>) {
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

    /// Opens the record at the start of `bytes` in place. Returns its length, or 0 if
    /// it is incomplete.
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
            self.append_record(Kind::Alert, b"forged", output.wire);
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
                    self.append_record(Kind::Pong, &vec![0; len], output.wire);
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
                self.append_record(Kind::Alert, b"sealing", wire);
                return Err(SessionError::Failed("required by the test"));
            }
            Some(SealFault::Panic) => panic!("required by the test"),
            Some(SealFault::Nothing) => return Ok(()),
            None => {}
        }
        for slice in plaintext {
            for piece in slice.chunks(self.data_max) {
                self.append_record(Kind::Data, piece, wire);
            }
        }
        if self.asks > 0 {
            self.asks -= 1;
            self.append_record(Kind::Ping, b"", wire);
        }
        Ok(())
    }

    fn close_notify(&mut self, wire: &mut Vec<u8>) {
        self.append_record(Kind::CloseNotify, b"", wire);
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        match self.stage {
            Stage::Established => Err(SessionError::Truncated),
            _ => Ok(()),
        }
    }

    fn identity(&self) -> Option<Identity> {
        let mut identity = Identity::default();
        identity.public_key = Some(self.their_key.to_vec());
        Some(identity)
    }
}

fn key_of(side: Direction) -> [u8; KEY_LEN] {
    match side {
        Direction::Outbound => *b"outbound",
        Direction::Inbound => *b"accepted",
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
