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
    claimed: BTreeMap<u32, Claim>,
    /// A random number of the node.
    pub seed: u64,
    /// The pieces that were completed in this turn.
    pub news: Vec<u32>,
}

/// What has arrived of a piece. It is hashed and written in runs, while it is in the
/// cache of the processor.
#[derive(Default)]
struct Claim {
    run: Vec<u8>,
    /// The position of the run in the piece.
    begin: u32,
    /// The hash of the runs before.
    hash: Sha1,
}

const RUN_LEN: usize = 64 * 1024;

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
        for piece in 0..count as u32 {
            if this.is_stored(piece)? {
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
        let count = theirs.len();
        let first = (self.seed % count as u64) as usize;
        let mut missing = (first..first + count).map(|it| it % count);
        let piece = missing.find(|it| {
            theirs[*it] && !self.complete[*it] && !self.claimed.contains_key(&(*it as u32))
        })? as u32;
        self.claimed.insert(piece, Claim::default());
        Some(piece)
    }

    /// Lets other peers claim a piece.
    pub(crate) fn release(&mut self, piece: u32) {
        self.claimed.remove(&piece);
    }

    /// Takes a block of a piece that is claimed.
    pub(crate) fn put(&mut self, piece: u32, begin: u32, data: &[u8]) -> io::Result<()> {
        if let Some(mut claim) = self.claimed.remove(&piece) {
            let is_next = claim.begin as usize + claim.run.len() == begin as usize;
            if !is_next || claim.run.len() >= RUN_LEN {
                self.flush(piece, &mut claim)?;
                claim.begin = begin;
            }
            claim.run.reserve(RUN_LEN);
            claim.run.extend_from_slice(data);
            self.claimed.insert(piece, claim);
        }
        Ok(())
    }

    fn flush(&mut self, piece: u32, claim: &mut Claim) -> io::Result<()> {
        claim.hash.update(&claim.run);
        self.seek(piece, claim.begin)?.write_all(&claim.run)?;
        claim.run.clear();
        Ok(())
    }

    /// Verifies a piece of which all blocks have arrived. Returns whether it is right.
    pub(crate) fn finish(&mut self, piece: u32) -> io::Result<bool> {
        let mut claim = self.claimed.remove(&piece).unwrap_or_default();
        self.flush(piece, &mut claim)?;
        // The blocks may have come in another order, which makes another hash.
        let is_right = self.is_right(piece, claim.hash) || self.is_stored(piece)?;
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
