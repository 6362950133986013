//! The pieces of the file: which are complete, and which are being fetched.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use sha1::{Digest, Sha1};

use super::metainfo::Metainfo;
use super::wire::{self, Block};

/// A file or, in the simulation, memory.
pub(crate) trait Storage: Read + Write + Seek {}

impl<T: Read + Write + Seek> Storage for T {}

pub(crate) struct Pieces {
    pub metainfo: Metainfo,
    pub storage: Box<dyn Storage>,
    /// The pieces that are stored and verified.
    pub complete: Vec<bool>,
    pub missing: u32,
    /// The pieces that are fetched, each from one peer: the hash of the blocks that
    /// have arrived in their order, and the length of these blocks.
    pub claimed: BTreeMap<u32, (Sha1, u32)>,
    /// A random number of the node.
    pub seed: u64,
    /// The pieces that were completed in this turn.
    pub news: Vec<u32>,
}

impl Pieces {
    /// Verifies what is stored already.
    pub(crate) fn open(metainfo: Metainfo, storage: Box<dyn Storage>) -> io::Result<Self> {
        let count = metainfo.hashes.len();
        let mut this = Self {
            metainfo,
            storage,
            complete: vec![false; count],
            missing: count as u32,
            claimed: BTreeMap::new(),
            seed: 0,
            news: Vec::new(),
        };
        for piece in 0..count as u32 {
            this.finish(piece)?;
        }
        Ok(this)
    }

    fn seek(&mut self, piece: u32, begin: u32) -> io::Result<&mut dyn Storage> {
        let at = self.metainfo.offset(piece) + u64::from(begin);
        self.storage.seek(SeekFrom::Start(at))?;
        Ok(&mut self.storage)
    }

    fn is_right(&self, piece: u32, hash: Sha1) -> bool {
        hash.finalize()[..] == self.metainfo.hashes[piece as usize]
    }

    fn is_stored(&mut self, piece: u32) -> io::Result<bool> {
        let (len, mut data) = (self.metainfo.len_of(piece).into(), Vec::new());
        self.seek(piece, 0)?.take(len).read_to_end(&mut data)?;
        Ok(self.is_right(piece, Sha1::new_with_prefix(data)))
    }

    /// Chooses a piece to fetch from a peer that has these. Nodes begin at different
    /// pieces, so that they have something for each other.
    pub(crate) fn claim(&mut self, theirs: &[bool]) -> Option<u32> {
        // Called in each turn for each peer. A seed searches nothing.
        (self.missing as usize > self.claimed.len()).then_some(())?;
        let count = theirs.len() as u64;
        let mut all = (0..count).map(|it| ((self.seed % count + it) % count) as u32);
        let piece = all.find(|piece| {
            let is_missing = theirs[*piece as usize] && !self.complete[*piece as usize];
            is_missing && !self.claimed.contains_key(piece)
        })?;
        self.claimed.insert(piece, Default::default());
        Some(piece)
    }

    /// Takes a block of a piece. One that continues those before it is hashed while it
    /// is in the cache of the processor.
    pub(crate) fn put(&mut self, piece: u32, begin: u32, block: &[u8]) -> io::Result<()> {
        let (hash, len) = self.claimed.entry(piece).or_default();
        if begin == *len {
            hash.update(block);
            *len += block.len() as u32;
        }
        self.seek(piece, begin)?.write_all(block)
    }

    /// Verifies a piece that may be complete. Returns whether it is.
    pub(crate) fn finish(&mut self, piece: u32) -> io::Result<bool> {
        let (hash, _) = self.claimed.remove(&piece).unwrap_or_default();
        // Blocks may have come in another order. Then the hash is of a part.
        let is_right = self.is_right(piece, hash) || self.is_stored(piece)?;
        if is_right {
            self.complete[piece as usize] = true;
            self.missing -= 1;
            self.news.push(piece);
        }
        Ok(is_right)
    }

    /// Returns the message with a block of a complete piece.
    pub(crate) fn read(&mut self, [piece, begin, len]: Block) -> Result<Vec<u8>, &'static str> {
        let mut message = wire::encode(wire::PIECE, &[piece, begin]);
        let header = message.len();
        message.resize(header + len as usize, 0);
        let read = self.seek(piece, begin);
        let read = read.and_then(|it| it.read_exact(&mut message[header..]));
        read.map_err(|_| "the file cannot be read")?;
        Ok(message)
    }
}
