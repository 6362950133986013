//! Every framing, with an encoder written independently of the library's, and
//! what to compare when a stream has been delivered.

use std::fmt::Debug;
use std::net::TcpStream;

use peerloop::config::ConnectionConfig;
use peerloop::error::FramingError;
use peerloop::framing::{ByteOrder, Decoded, Framer, Framing, LengthPrefix};
use peerloop::{Config, ConnId};

use super::raw::feed;
use super::{TestNode, run_until};

/// The minimum length of the read buffer.
pub const BUFFER: usize = 4096;

pub const PREFIXES: [LengthPrefix; 10] = [
    LengthPrefix::One,
    LengthPrefix::Two(ByteOrder::BigEndian),
    LengthPrefix::Two(ByteOrder::LittleEndian),
    LengthPrefix::Three(ByteOrder::BigEndian),
    LengthPrefix::Three(ByteOrder::LittleEndian),
    LengthPrefix::Four(ByteOrder::BigEndian),
    LengthPrefix::Four(ByteOrder::LittleEndian),
    LengthPrefix::Eight(ByteOrder::BigEndian),
    LengthPrefix::Eight(ByteOrder::LittleEndian),
    LengthPrefix::Varint,
];

/// A decimal length, a colon, the body, a comma: a header without a fixed width,
/// and a byte that follows the body.
pub struct Netstring;

impl Framer for Netstring {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let is_digit = |byte: &&u8| byte.is_ascii_digit();
        let digits = bytes.iter().take_while(is_digit).count();
        match bytes.get(digits) {
            None => {
                let at_least = digits + 1;
                return Ok(Decoded::Incomplete { at_least });
            }
            Some(b':') => {}
            Some(_) => return Err(FramingError::Malformed("no length")),
        }
        let step = |number, digit: &u8| 10 * number + usize::from(digit - b'0');
        let start = digits + 1;
        let end = start + bytes[..digits].iter().fold(0, step);
        match bytes.get(end) {
            None => Ok(Decoded::Incomplete { at_least: end + 1 }),
            Some(b',') => Ok(Decoded::Frame {
                body: start..end,
                consumed: end + 1,
            }),
            Some(_) => Err(FramingError::Malformed("no comma")),
        }
    }

    fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend(netstring(body));
        Ok(())
    }
}

fn netstring(body: &[u8]) -> Vec<u8> {
    [format!("{}:", body.len()).as_bytes(), body, b","].concat()
}

/// Returns every framing. Fixed frames have three bytes.
pub fn framings() -> Vec<Framing> {
    let others = [
        Framing::Raw,
        Framing::Fixed(3),
        Framing::Delimited(b'\n'),
        Framing::custom(|| Netstring),
    ];
    let prefixes = PREFIXES.map(Framing::LengthDelimited);
    prefixes.into_iter().chain(others).collect()
}

/// Returns framings that carry a body of any length in one piece. Fixed frames
/// have this length.
pub fn framings_for(len: usize) -> [Framing; 6] {
    [
        Framing::LengthDelimited(LengthPrefix::Four(ByteOrder::BigEndian)),
        Framing::LengthDelimited(LengthPrefix::Eight(ByteOrder::LittleEndian)),
        Framing::LengthDelimited(LengthPrefix::Varint),
        Framing::Delimited(b'\n'),
        Framing::custom(|| Netstring),
        Framing::Fixed(len),
    ]
}

/// Returns the prefix of a body of `len` bytes.
pub fn header(prefix: LengthPrefix, len: u64) -> Vec<u8> {
    let fixed = |order, width| match order {
        ByteOrder::BigEndian => len.to_be_bytes()[8 - width..].to_vec(),
        ByteOrder::LittleEndian => len.to_le_bytes()[..width].to_vec(),
    };
    match prefix {
        LengthPrefix::One => fixed(ByteOrder::BigEndian, 1),
        LengthPrefix::Two(order) => fixed(order, 2),
        LengthPrefix::Three(order) => fixed(order, 3),
        LengthPrefix::Four(order) => fixed(order, 4),
        LengthPrefix::Eight(order) => fixed(order, 8),
        _ => leb128(len),
    }
}

fn leb128(number: u64) -> Vec<u8> {
    match number {
        0..0x80 => vec![number as u8],
        _ => [vec![number as u8 | 0x80], leb128(number >> 7)].concat(),
    }
}

pub fn encode(framing: &Framing, body: &[u8]) -> Vec<u8> {
    match framing {
        Framing::LengthDelimited(prefix) => [&header(*prefix, body.len() as u64), body].concat(),
        Framing::Raw | Framing::Fixed(_) => body.to_vec(),
        Framing::Delimited(byte) => [body, &[*byte]].concat(),
        _ => netstring(body),
    }
}

pub fn encode_all(framing: &Framing, bodies: &[Vec<u8>]) -> Vec<u8> {
    let frames: Vec<_> = bodies.iter().map(|body| encode(framing, body)).collect();
    frames.concat()
}

/// Returns a body of `len` letters, or of the nearest length that the framing
/// allows. Bodies of different seeds differ, and none looks the same shifted by
/// the length of a buffer.
pub fn body(framing: &Framing, len: usize, seed: usize) -> Vec<u8> {
    let len = match framing {
        Framing::Fixed(fixed) => *fixed,
        Framing::Raw => len.max(1),
        Framing::LengthDelimited(LengthPrefix::One) => len.min(255),
        _ => len,
    };
    let mut letters = *b"abcdefghijklmnopqrstuvw";
    letters.rotate_left(7 * seed % 23);
    letters.repeat(len / 23 + 1)[..len].to_vec()
}

/// Returns bodies that take `total` bytes on the wire in the default framing.
pub fn bodies_in(total: usize) -> Vec<Vec<u8>> {
    let framing = Framing::default();
    let mut bodies = Vec::new();
    let mut left = total;
    while left > 0 {
        let frame = if left < 28 { left } else { 14 };
        bodies.push(body(&framing, frame - 4, bodies.len()));
        left -= frame;
    }
    bodies
}

/// Returns a configuration with this framing and the smallest read buffer.
pub fn config_with(framing: &Framing) -> Config {
    Config {
        connection: ConnectionConfig {
            framing: framing.clone(),
            ..Default::default()
        },
        read_buffer_bytes: BUFFER,
        ..Config::default()
    }
}

/// Runs the node until it has delivered this many bytes, framing included, on all
/// its connections.
#[track_caller]
pub fn until_received(node: &mut TestNode, bytes: usize) {
    run_until([&mut *node], |[node]| {
        node.net().traffic().bytes_received as usize >= bytes
    });
    assert_eq!(node.net().traffic().bytes_received as usize, bytes);
}

/// Checks that the messages that arrived equal the sent ones. With raw
/// framing, which has no boundaries, it compares the bytes.
#[track_caller]
pub fn assert_arrived(framing: &Framing, arrived: &[&[u8]], sent: &[Vec<u8>], context: impl Debug) {
    if matches!(framing, Framing::Raw) {
        assert!(arrived.iter().all(|message| !message.is_empty()));
        assert!(arrived.concat() == sent.concat(), "{context:?}");
        return;
    }
    let differs = arrived.iter().zip(sent).position(|(a, b)| a != b);
    let (came, went) = (arrived.len(), sent.len());
    assert!(
        came == went && differs.is_none(),
        "{framing:?}, {context:?}: {came} of {went} messages came, the first wrong one is {differs:?}"
    );
}

/// Has the node read the pieces one by one, and checks the messages.
pub fn read_in_pieces(
    (node, conn, peer): &mut (TestNode, ConnId, TcpStream),
    framing: &Framing,
    pieces: &[&[u8]],
    bodies: &[Vec<u8>],
) {
    node.handler_mut().events.clear();
    let total: usize = pieces.iter().map(|piece| piece.len()).sum();
    let before = node.net().traffic().bytes_received as usize;
    for piece in pieces {
        feed(node, peer, piece);
    }
    until_received(node, before + total);
    let arrived = node.handler().messages(*conn);
    assert_arrived(framing, &arrived, bodies, pieces);
    if matches!(framing, Framing::Raw) {
        assert_eq!(arrived, pieces, "each read is a message");
    }
}
