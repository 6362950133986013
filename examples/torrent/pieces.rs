//! The pieces of the file: which are complete, and which are being fetched.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use sha1::{Digest, Sha1};

use crate::metainfo::Metainfo;
use crate::wire::{self, Block};

/// A file or, in the simulation, memory.
pub(crate) trait Storage: Read + Write + Seek {}

impl<T: Read + Write + Seek> Storage for T {}

pub(crate) struct Pieces {
    pub metainfo: Metainfo,
    pub storage: Box<dyn Storage>,
    /// The pieces that are stored and verified.
    pub complete: Vec<bool>,
    pub missing: u32,
    /// The pieces that are fetched, each from one peer.
    claimed: BTreeMap<u32, Vec<u8>>,
    /// A random number of the node.
    pub seed: u64,
    /// The pieces that were completed in this turn.
    pub news: Vec<u32>,
}

impl Pieces {
    /// Verifies what is stored already.
    pub(crate) fn open(
        metainfo: Metainfo,
        storage: Box<dyn Storage>,
        seed: u64,
    ) -> io::Result<Self> {
        let count = metainfo.hashes.len();
        let mut this = Self {
            metainfo,
            storage,
            complete: vec![false; count],
            missing: count as u32,
            claimed: BTreeMap::new(),
            seed,
            news: Vec::new(),
        };
        let mut data = Vec::new();
        for piece in 0..count as u32 {
            data.clear();
            let len = this.metainfo.len_of(piece).into();
            this.seek(piece, 0)?.take(len).read_to_end(&mut data)?;
            if this.is_right(piece, &data) {
                this.complete[piece as usize] = true;
                this.missing -= 1;
            }
        }
        Ok(this)
    }

    fn seek(&mut self, piece: u32, begin: u32) -> io::Result<&mut dyn Storage> {
        let at = self.metainfo.offset(piece) + u64::from(begin);
        self.storage.seek(SeekFrom::Start(at))?;
        Ok(&mut self.storage)
    }

    fn is_right(&self, piece: u32, data: &[u8]) -> bool {
        Sha1::digest(data)[..] == self.metainfo.hashes[piece as usize]
    }

    /// Chooses a piece to fetch from a peer that has these. Nodes begin at different
    /// pieces, so that they have something for each other.
    pub(crate) fn claim(&mut self, theirs: &[bool]) -> Option<u32> {
        let count = theirs.len();
        let first = (self.seed % count as u64) as usize;
        let mut missing = (first..first + count).map(|it| it % count);
        let piece = missing.find(|it| {
            theirs[*it] && !self.complete[*it] && !self.claimed.contains_key(&(*it as u32))
        })? as u32;
        let len = self.metainfo.len_of(piece) as usize;
        self.claimed.insert(piece, vec![0; len]);
        Some(piece)
    }

    /// Lets other peers claim a piece.
    pub(crate) fn release(&mut self, piece: u32) {
        self.claimed.remove(&piece);
    }

    /// Takes a part of a piece that is claimed.
    pub(crate) fn put(&mut self, piece: u32, begin: u32, data: &[u8]) {
        if let Some(buffer) = self.claimed.get_mut(&piece) {
            buffer[begin as usize..][..data.len()].copy_from_slice(data);
        }
    }

    /// Stores a piece of which all parts have arrived, if it is right.
    pub(crate) fn store(&mut self, piece: u32) -> Result<(), &'static str> {
        let buffer = self.claimed.remove(&piece).unwrap_or_default();
        if !self.is_right(piece, &buffer) {
            return Err("a piece with a wrong hash");
        }
        let stored = self.seek(piece, 0).and_then(|it| it.write_all(&buffer));
        stored.map_err(|_| "the file cannot be written")?;
        self.complete[piece as usize] = true;
        self.missing -= 1;
        self.news.push(piece);
        Ok(())
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
