//! The description of a file: its length, and a hash of each piece.

use std::str;

use bendy::decoding::{Decoder, Object};
use sha1::{Digest, Sha1};

use super::wire::{BLOCK_LEN, Block};

pub(crate) type Hash = [u8; 20];

/// The bitfield of more pieces would be longer than any other message.
const PIECES_MAX: u64 = 1 << 16;

/// The blocks of a piece are requested together, and are fewer than `REQUESTS_MAX`.
const PIECE_LEN_MAX: u64 = 4 << 20;

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
        let info = get(torrent, b"info").ok_or("not a torrent file")?;
        let number = |key| str::from_utf8(get(info, key)?).ok()?.parse::<u64>().ok();
        let len = number(b"length").ok_or("not a single file: it has no length")?;
        let piece_len = number(b"piece length").filter(|len| (1..=PIECE_LEN_MAX).contains(len));
        let hashes = get(info, b"pieces").ok_or("no hashes")?.chunks(20);
        let this = Self {
            // The hash is of these bytes as they are.
            info_hash: Sha1::digest(info).into(),
            len,
            piece_len: piece_len.ok_or("no length of pieces, or above 4 MiB")? as u32,
            hashes: hashes.map_while(|it| it.try_into().ok()).collect(),
        };
        let count = len.div_ceil(this.piece_len.into());
        let is_valid = count <= PIECES_MAX && count == this.hashes.len() as u64;
        is_valid.then_some(this).ok_or("a wrong number of pieces")
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
    pub(crate) fn blocks(&self, piece: u32) -> impl ExactSizeIterator<Item = Block> + use<> {
        let len = self.len_of(piece);
        let begins = (0..len).step_by(BLOCK_LEN as usize);
        begins.map(move |begin| [piece, begin, BLOCK_LEN.min(len - begin)])
    }
}

/// Returns the bytes of a string, number or dictionary in a bencoded dictionary.
fn get<'a>(dictionary: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut decoder = Decoder::new(dictionary);
    let mut pairs = decoder.next_object().ok()??.try_into_dictionary().ok()?;
    while let Some((found, value)) = pairs.next_pair().ok()? {
        match value {
            _ if found != key => {}
            Object::Bytes(bytes) => return Some(bytes),
            Object::Integer(digits) => return Some(digits.as_bytes()),
            Object::Dict(dictionary) => return dictionary.into_raw().ok(),
            Object::List(_) => return None,
        }
    }
    None
}
