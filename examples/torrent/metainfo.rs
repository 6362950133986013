//! The description of a file: its length, and a hash of each piece.

use std::str;

use sha1::{Digest, Sha1};

use crate::wire::{BLOCK_LEN, Block};

pub(crate) type Hash = [u8; 20];

/// The bitfield of more pieces would be longer than any other message.
const PIECES_MAX: usize = 1 << 16;

/// Each piece is in memory until it is complete.
const PIECE_LEN_MAX: u32 = 32 << 20;

/// How deep lists and dictionaries may be nested.
const DEPTH_MAX: u32 = 16;

/// The content of a `.torrent` file, as far as it is needed.
#[derive(Clone)]
pub(crate) struct Metainfo {
    /// Identifies the torrent in the handshake.
    pub info_hash: Hash,
    /// The length of the file in bytes.
    pub len: u64,
    /// The length of each piece but the last one.
    pub piece_len: u32,
    pub hashes: Vec<Hash>,
}

impl Metainfo {
    /// Reads a `.torrent` file that describes a single file.
    pub(crate) fn parse(torrent: &[u8]) -> Result<Self, &'static str> {
        let info = get(torrent, "info").ok_or("not a torrent file")?;
        let hashes = get(info, "pieces").and_then(|mut value| string(&mut value));
        let hashes = hashes.ok_or("no hashes of pieces")?.chunks(20);
        let this = Self {
            // The hash is of these bytes as they are.
            info_hash: Sha1::digest(info).into(),
            len: integer(info, "length").ok_or("no length, or several files")?,
            piece_len: integer(info, "piece length").ok_or("no length of pieces")?,
            hashes: hashes
                .map(Hash::try_from)
                .collect::<Result<_, _>>()
                .map_err(|_| "an incomplete hash")?,
        };
        if !(1..=PIECE_LEN_MAX).contains(&this.piece_len) || this.hashes.len() > PIECES_MAX {
            return Err("pieces that are too long or too many");
        }
        if this.len == 0 || this.len.div_ceil(this.piece_len.into()) != this.hashes.len() as u64 {
            return Err("a number of pieces that does not suit the length");
        }
        Ok(this)
    }

    /// The position of a piece in the file.
    ///
    /// ```text
    /// 0        offset(1)     offset(2)     len
    /// |-- piece 0 --|-- piece 1 --|-- last --|
    /// ```
    pub(crate) fn offset(&self, piece: u32) -> u64 {
        u64::from(piece) * u64::from(self.piece_len)
    }

    /// The length of a piece, which is zero for one that does not exist.
    pub(crate) fn len_of(&self, piece: u32) -> u32 {
        let left = self.len.saturating_sub(self.offset(piece));
        left.min(self.piece_len.into()) as u32
    }

    /// The blocks in which a piece is requested.
    pub(crate) fn blocks(&self, piece: u32) -> impl Iterator<Item = Block> + use<> {
        let piece_len = self.len_of(piece);
        let starts = (0..piece_len).step_by(BLOCK_LEN as usize);
        starts.map(move |begin| Block {
            piece,
            begin,
            len: BLOCK_LEN.min(piece_len - begin),
        })
    }
}

/// Returns the bytes of a value in a bencoded dictionary.
fn get<'a>(dictionary: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut rest = dictionary.strip_prefix(b"d")?;
    loop {
        let (found, value) = (string(&mut rest)?, value(&mut rest, DEPTH_MAX)?);
        if found == key.as_bytes() {
            return Some(value);
        }
    }
}

fn integer<T: str::FromStr>(dictionary: &[u8], key: &str) -> Option<T> {
    let digits = get(dictionary, key)?
        .strip_prefix(b"i")?
        .strip_suffix(b"e")?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Takes a value of any type from the beginning, and returns its bytes.
fn value<'a>(rest: &mut &'a [u8], depth: u32) -> Option<&'a [u8]> {
    let all = *rest;
    match all.first()? {
        b'i' => *rest = &all[1 + all.iter().position(|byte| *byte == b'e')?..],
        b'l' | b'd' => {
            *rest = &all[1..];
            while *rest.first()? != b'e' {
                value(rest, depth.checked_sub(1)?)?;
            }
            *rest = &rest[1..];
        }
        _ => drop(string(rest)?),
    }
    Some(&all[..all.len() - rest.len()])
}

/// Takes a string from the beginning: its length, a colon and its bytes.
fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let colon = rest.iter().position(|byte| *byte == b':')?;
    let len = str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
    let (string, after) = rest[colon + 1..].split_at_checked(len)?;
    *rest = after;
    Some(string)
}
