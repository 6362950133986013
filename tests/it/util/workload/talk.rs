//! Messages that contain their number, in every framing.

use std::net::SocketAddr;

use peerloop::error::FramingError;
use peerloop::framing::{ByteOrder, Decoded, Framer, Framing, LengthPrefix};
use peerloop::sim::Random;
use peerloop::{Direction, Transport};

use crate::util::secured::Secured;
use crate::util::sessions::{Manner, Xor};

/// The length of messages where every one has the same.
const FIXED: usize = 24;

/// A message beside the numbered ones, of a length that every framing can carry.
pub const ANNOUNCEMENT: &[u8; FIXED] = b"beside the numbered ones";

/// A node's listeners: on the first port its own framing, on the second one of the listener's own.
pub const PORTS: [u16; 2] = [7000, 7001];

/// Settings that all nodes of a world share.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// By port.
    pub kinds: [Kind; 2],
    pub secured: Secured,
    /// How often a callback panics, where that is contained.
    pub panics: Option<f64>,
    pub is_v6: bool,
}

impl Rules {
    pub fn drawn(random: &mut Random) -> Self {
        Self {
            kinds: [Kind::drawn(random), Kind::drawn(random)],
            secured: Secured::drawn(random),
            panics: random.chance(0.4).then_some(0.003),
            is_v6: random.chance(0.25),
        }
    }

    /// Returns the transport of a connection. A greeting may reject the peer,
    /// or send nothing until the handshake timeout.
    pub fn transport(&self, direction: Direction, random: &mut Random) -> Transport {
        let manner = match random.below(40) {
            0 => Manner::Rejects,
            1 => Manner::Silent,
            _ => Manner::Agrees,
        };
        match self.secured {
            Secured::Xor => wordy(direction, random).into(),
            _ => self.secured.transport(direction, manner),
        }
    }

    /// Returns the kind of messages on a connection to this listener.
    pub fn kind(&self, server: SocketAddr) -> Kind {
        self.kinds[usize::from(server.port() == PORTS[1])]
    }
}

/// A session that may seal a message as many records, or have much to answer.
/// Only one side asks: if both did, each could wait for the other to read.
fn wordy(side: Direction, random: &mut Random) -> Xor {
    let mut session = Xor::new(side);
    if random.chance(0.2) {
        session.data_max = random.between(1, 20) as usize;
    }
    if side == Direction::Outbound && random.chance(0.3) {
        session.asks = random.between(1, 3) as u32;
    }
    session.pong_len = random.between(1, 100_000) as usize;
    session
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Length(LengthPrefix),
    Raw,
    Fixed,
    Lines,
    Custom,
}

impl Kind {
    pub fn drawn(random: &mut Random) -> Self {
        use ByteOrder::{BigEndian, LittleEndian};
        match random.below(12) {
            0 | 1 => Self::Raw,
            2 => Self::Fixed,
            3 => Self::Lines,
            4 => Self::Length(LengthPrefix::Varint),
            5 => Self::Length(LengthPrefix::Two(LittleEndian)),
            6 => Self::Length(LengthPrefix::Three(BigEndian)),
            7 => Self::Length(LengthPrefix::Eight(LittleEndian)),
            8 | 9 => Self::Custom,
            10 => Self::Length(LengthPrefix::One),
            _ => Self::Length(LengthPrefix::Four(BigEndian)),
        }
    }

    pub fn framing(self) -> Framing {
        match self {
            Self::Length(prefix) => Framing::LengthDelimited(prefix),
            Self::Raw => Framing::Raw,
            Self::Fixed => Framing::Fixed(FIXED),
            Self::Lines => Framing::Delimited(b'\n'),
            Self::Custom => Framing::custom(Numbered::default),
        }
    }

    /// Returns the message with this number and about this length: its number,
    /// and a filler that no other message has. For bytes without boundaries the
    /// number is that of the first byte.
    pub fn message(self, number: u64, extra: u64) -> Vec<u8> {
        if self == Self::Raw {
            return bytes(0, number, extra + 1);
        }
        let head = format!("{number:08x}").into_bytes();
        let extra = match self {
            Self::Fixed => (FIXED - head.len()) as u64,
            Self::Length(LengthPrefix::One) => extra % 200,
            _ => extra,
        };
        [head, bytes(number, 0, extra)].concat()
    }

    /// Whether a message for this place is that for the same place in another framing too.
    pub fn is_raw(self) -> bool {
        self == Self::Raw
    }

    /// Compares what came with what has to come at this place; the next place.
    pub fn check(self, number: u64, message: &[u8]) -> u64 {
        if self == Self::Raw {
            let len = message.len() as u64;
            assert!(message == bytes(0, number, len), "bytes from {number}");
            return number + len;
        }
        if message == ANNOUNCEMENT {
            return number;
        }
        let (head, filler) = message.split_at(8);
        let expected = format!("{number:08x}");
        assert_eq!(head, expected.as_bytes(), "messages come in order");
        let expected = bytes(number, 0, filler.len() as u64);
        assert!(filler == expected, "message {number}");
        number + 1
    }

    /// The length of the frame of a message of this length.
    pub fn frame_len(self, len: usize) -> u64 {
        let around = match self {
            Self::Raw | Self::Fixed => 0,
            Self::Lines => 1,
            Self::Custom => 4,
            Self::Length(prefix) => match prefix {
                LengthPrefix::One => 1,
                LengthPrefix::Two(_) => 2,
                LengthPrefix::Three(_) => 3,
                LengthPrefix::Four(_) => 4,
                LengthPrefix::Eight(_) => 8,
                // Seven bits to a byte.
                LengthPrefix::Varint => len.max(1).ilog2() / 7 + 1,
                _ => unreachable!("no world has it"),
            },
        };
        len as u64 + u64::from(around)
    }

    /// Returns the frame of the message with this number, as a peer without
    /// this library writes it.
    pub fn frame(self, number: u64, message: &[u8]) -> Vec<u8> {
        let len = message.len() as u64;
        let number_of = |bytes: usize, order: ByteOrder| match order {
            ByteOrder::BigEndian => len.to_be_bytes()[8 - bytes..].to_vec(),
            ByteOrder::LittleEndian => len.to_le_bytes()[..bytes].to_vec(),
        };
        let (before, after): (Vec<u8>, &[u8]) = match self {
            Self::Raw | Self::Fixed => (Vec::new(), b""),
            Self::Lines => (Vec::new(), b"\n"),
            Self::Custom => {
                let [high, low] = (len as u16).to_be_bytes();
                (vec![number as u8, high, low], b"!")
            }
            Self::Length(prefix) => match prefix {
                LengthPrefix::One => (vec![len as u8], b""),
                LengthPrefix::Two(order) => (number_of(2, order), b""),
                LengthPrefix::Three(order) => (number_of(3, order), b""),
                LengthPrefix::Four(order) => (number_of(4, order), b""),
                LengthPrefix::Eight(order) => (number_of(8, order), b""),
                LengthPrefix::Varint => (leb128(len), b""),
                _ => unreachable!("no world has it"),
            },
        };
        [&before, message, after].concat()
    }

    /// How many places a message of this length takes.
    pub fn places(self, len: usize) -> u64 {
        if self == Self::Raw { len as u64 } else { 1 }
    }
}

/// Seven bits to a byte, the lowest first.
fn leb128(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// So many bytes of a message, or of a raw stream, from this place on. Never a line's end.
fn bytes(message: u64, place: u64, count: u64) -> Vec<u8> {
    let first = message.wrapping_mul(7).wrapping_add(place.wrapping_mul(11));
    let period: [u8; 26] =
        std::array::from_fn(|at| b'a' + ((first % 26 + at as u64 * 11) % 26) as u8);
    let mut bytes = period.repeat(count as usize / period.len() + 1);
    bytes.truncate(count as usize);
    bytes
}

/// A framing with state at both ends: each frame has its number, the length of
/// the body, the body, and a mark.
///
/// ```text
///   │ number: 1 │ length: 2 │ body │ '!' │
/// ```
#[derive(Default)]
struct Numbered {
    next: u8,
}

impl Framer for Numbered {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let Some(&[number, high, low]) = bytes.first_chunk() else {
            let at_least = bytes.len() + 1;
            return Ok(Decoded::Incomplete { at_least });
        };
        if number != self.next {
            return Err(FramingError::Malformed("a frame is missing"));
        }
        let end = 3 + usize::from(u16::from_be_bytes([high, low]));
        match bytes.get(end) {
            None => Ok(Decoded::Incomplete { at_least: end + 1 }),
            Some(b'!') => {
                self.next = self.next.wrapping_add(1);
                let (body, consumed) = (3..end, end + 1);
                Ok(Decoded::Frame { body, consumed })
            }
            Some(_) => Err(FramingError::Malformed("no mark")),
        }
    }

    fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        let Ok(len) = u16::try_from(body.len()) else {
            let (len, max) = (body.len() as u64, u64::from(u16::MAX));
            return Err(FramingError::TooLarge {
                len,
                max: max as usize,
            });
        };
        wire.push(self.next);
        wire.extend(len.to_be_bytes());
        wire.extend(body);
        wire.push(b'!');
        self.next = self.next.wrapping_add(1);
        Ok(())
    }
}
