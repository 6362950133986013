//! The messages of the peer wire protocol (BEP 3).
//!
//! A handshake of 68 bytes is followed by messages with a length of four bytes
//! before each, which is the default framing. An empty message keeps the
//! connection alive. The others begin with their type.

use super::metainfo::{Hash, Metainfo};

pub(crate) const CHOKE: u8 = 0;
pub(crate) const UNCHOKE: u8 = 1;
pub(crate) const INTERESTED: u8 = 2;
pub(crate) const HAVE: u8 = 4;
pub(crate) const BITFIELD: u8 = 5;
pub(crate) const REQUEST: u8 = 6;
pub(crate) const PIECE: u8 = 7;
pub(crate) const CANCEL: u8 = 8;

/// A part of a piece: the piece, where it begins, and its length, as in a request.
pub(crate) type Block = [u32; 3];

/// The length of a request. Other clients end a connection on which more is
/// requested at once.
pub(crate) const BLOCK_LEN: u32 = 16 * 1024;

/// Maximum number of requests that wait for an answer. Transmission keeps 511
/// and drops further ones without an answer, which would stall the download. It
/// answers twice a second, so fewer requests would leave it idle.
pub(crate) const REQUESTS_MAX: usize = 500;

/// The longest message is a block after its type, piece and begin.
pub(crate) const MESSAGE_MAX: usize = 9 + BLOCK_LEN as usize;

pub(crate) const HANDSHAKE_LEN: usize = 68;
const PROTOCOL: &[u8] = b"\x13BitTorrent protocol";

/// The eight bytes in the middle would announce extensions.
pub(crate) fn handshake(metainfo: &Metainfo, peer_id: &Hash) -> Vec<u8> {
    [PROTOCOL, &[0; 8], &metainfo.info_hash, peer_id].concat()
}

/// Takes a handshake of 68 bytes.
pub(crate) fn check_handshake(message: &[u8], metainfo: &Metainfo) -> Result<(), &'static str> {
    match (message.starts_with(PROTOCOL), message.get(28..48)) {
        (true, Some(hash)) if hash == metainfo.info_hash => Ok(()),
        (true, _) => Err("another torrent"),
        _ => Err("no BitTorrent handshake"),
    }
}

pub(crate) fn encode(id: u8, numbers: &[u32]) -> Vec<u8> {
    let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
    [id].into_iter().chain(numbers).collect()
}

/// The count of numbers in each type of message.
const NUMBERS: [usize; 9] = [0, 0, 0, 0, 1, 0, 3, 2, 3];

/// Returns the type of a message, its numbers, and the bytes after them. An empty
/// message is returned as one of an extension. Returns `None` if its length does not
/// suit its type.
pub(crate) fn parse(message: &[u8]) -> Option<(u8, [u32; 3], &[u8])> {
    let (&id, mut rest) = message.split_first().unwrap_or((&u8::MAX, &[]));
    let mut numbers = [0; 3];
    let count = NUMBERS.get(usize::from(id)).copied().unwrap_or(0);
    for number in &mut numbers[..count] {
        let (bytes, after) = rest.split_first_chunk()?;
        (*number, rest) = (u32::from_be_bytes(*bytes), after);
    }
    let is_valid = rest.is_empty() || matches!(id, BITFIELD | PIECE) || id > CANCEL;
    is_valid.then_some((id, numbers, rest))
}

/// Packs a bit for each piece. The first one is the highest bit of the first byte.
pub(crate) fn to_bitfield(pieces: &[bool]) -> Vec<u8> {
    let bit = |(index, has): (u8, &bool)| u8::from(*has) << (7 - index);
    let byte = |eight: &[bool]| (0..).zip(eight).map(bit).sum();
    pieces.chunks(8).map(byte).collect()
}

/// Returns `None` if there are too few or too many bytes, or if a bit after the
/// last piece is set.
pub(crate) fn from_bitfield(bytes: &[u8], pieces: usize) -> Option<Vec<bool>> {
    let bit = |index: usize| bytes[index / 8] << (index % 8) & 0x80 != 0;
    let all: Vec<bool> = (0..bytes.len() * 8).map(bit).collect();
    let (has, spare) = all.split_at_checked(pieces)?;
    (spare.len() < 8 && !spare.contains(&true)).then(|| has.to_vec())
}
