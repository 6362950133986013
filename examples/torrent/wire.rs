//! The messages of the peer wire protocol (BEP 3).
//!
//! A handshake of 68 bytes is followed by messages with a length of four bytes
//! before each, which is the default framing.

use std::{iter, mem};

use crate::metainfo::Hash;

pub(crate) const HANDSHAKE_LEN: usize = 68;

/// The length of a request. Other clients end a connection on which more is
/// requested at once.
pub(crate) const BLOCK_LEN: u32 = 16 * 1024;

/// The longest message is a block after its type, piece and begin.
pub(crate) const MESSAGE_MAX: usize = 9 + BLOCK_LEN as usize;

const PROTOCOL: &[u8] = b"\x13BitTorrent protocol";

/// The eight bytes in the middle are for extensions, of which there are none.
pub(crate) fn handshake(info_hash: &Hash, peer_id: &Hash) -> Vec<u8> {
    [PROTOCOL, &[0; 8], info_hash, peer_id].concat()
}

pub(crate) fn check_handshake(message: &[u8], info_hash: &Hash) -> Result<(), &'static str> {
    if !message.starts_with(PROTOCOL) {
        return Err("no BitTorrent handshake");
    }
    let is_ours = message.get(28..48) == Some(info_hash);
    is_ours.then_some(()).ok_or("another torrent")
}

/// A part of a piece.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Block {
    pub piece: u32,
    pub begin: u32,
    pub len: u32,
}

pub(crate) const UNCHOKE: u8 = 1;
pub(crate) const INTERESTED: u8 = 2;
pub(crate) const HAVE: u8 = 4;
pub(crate) const BITFIELD: u8 = 5;
pub(crate) const REQUEST: u8 = 6;
pub(crate) const PIECE: u8 = 7;

/// A message that has a meaning here.
pub(crate) enum Message<'a> {
    Choke,
    Unchoke,
    Interested,
    Have(u32),
    Bitfield(&'a [u8]),
    Request(Block),
    /// A block: its piece, where it begins, and its bytes.
    Piece(u32, u32, &'a [u8]),
    Cancel(Block),
    /// Keep-alive, not interested, or a type of an extension.
    Other,
}

impl<'a> Message<'a> {
    /// Returns `None` if the length does not suit the type.
    pub(crate) fn parse(message: &'a [u8]) -> Option<Self> {
        let Some((id, mut rest)) = message.split_first() else {
            return Some(Self::Other);
        };
        let message = match id {
            0 => Self::Choke,
            1 => Self::Unchoke,
            2 => Self::Interested,
            4 => Self::Have(number(&mut rest)?),
            5 => Self::Bitfield(mem::take(&mut rest)),
            6 => Self::Request(block(&mut rest)?),
            7 => Self::Piece(number(&mut rest)?, number(&mut rest)?, mem::take(&mut rest)),
            8 => Self::Cancel(block(&mut rest)?),
            _ => return Some(Self::Other),
        };
        rest.is_empty().then_some(message)
    }
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

fn block(rest: &mut &[u8]) -> Option<Block> {
    let (piece, begin, len) = (number(rest)?, number(rest)?, number(rest)?);
    Some(Block { piece, begin, len })
}

/// A message of a type and numbers.
pub(crate) fn encode(id: u8, numbers: &[u32]) -> Vec<u8> {
    let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
    iter::once(id).chain(numbers).collect()
}

/// A bit for each piece. The first one is the highest bit of the first byte.
#[derive(Clone)]
pub(crate) struct Bitfield(pub Vec<u8>);

impl Bitfield {
    pub(crate) fn new(pieces: usize) -> Self {
        Self(vec![0; pieces.div_ceil(8)])
    }

    /// Returns `None` if there are too few or too many bytes, or if a bit is set
    /// that is none of a piece.
    pub(crate) fn parse(bytes: &[u8], pieces: usize) -> Option<Self> {
        let spare = bytes.len() * 8 - pieces.min(bytes.len() * 8);
        let is_valid = spare < 8 && bytes.len() == pieces.div_ceil(8);
        let is_clean = is_valid && bytes.last()?.trailing_zeros() as usize >= spare;
        is_clean.then(|| Self(bytes.to_vec()))
    }

    pub(crate) fn has(&self, piece: u32) -> bool {
        self.0[piece as usize / 8] & (0x80 >> (piece % 8)) != 0
    }

    pub(crate) fn set(&mut self, piece: u32) {
        self.0[piece as usize / 8] |= 0x80 >> (piece % 8);
    }
}
