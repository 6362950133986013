//! The pieces of the file: which are complete, and which are being fetched.

use std::io::{self, Read, Seek, SeekFrom, Write};

use sha1::{Digest, Sha1};

use crate::metainfo::Metainfo;
use crate::wire::{self, Bitfield, Block};

/// `F` is a file or, in the simulation, memory.
pub(crate) struct Pieces<F> {
    pub metainfo: Metainfo,
    pub file: F,
    /// The pieces that are in the file and verified.
    pub complete: Bitfield,
    pub missing: u32,
    /// The pieces that a peer is fetched from.
    claimed: Vec<bool>,
    /// The piece that is claimed first. It differs from node to node, so that they
    /// have something for each other.
    first: u32,
    /// The pieces that were completed in this turn.
    pub news: Vec<u32>,
    /// Whether a piece was released in this turn.
    pub any_released: bool,
    pub failure: Option<io::Error>,
}

impl<F: Read + Write + Seek> Pieces<F> {
    /// Verifies what is in the file already.
    pub(crate) fn open(metainfo: Metainfo, file: F, first: u32) -> io::Result<Self> {
        let count = metainfo.hashes.len();
        let mut this = Self {
            metainfo,
            file,
            complete: Bitfield::new(count),
            missing: count as u32,
            claimed: vec![false; count],
            first: first % count as u32,
            news: Vec::new(),
            any_released: false,
            failure: None,
        };
        let mut data = Vec::new();
        for piece in 0..this.missing {
            data.clear();
            let len = this.metainfo.len_of(piece);
            this.seek(piece, 0)?
                .take(len.into())
                .read_to_end(&mut data)?;
            if this.is_right(piece, &data) {
                this.complete.set(piece);
                this.missing -= 1;
            }
        }
        Ok(this)
    }

    pub(crate) fn count(&self) -> u32 {
        self.claimed.len() as u32
    }

    fn seek(&mut self, piece: u32, begin: u32) -> io::Result<&mut F> {
        let at = self.metainfo.offset(piece) + u64::from(begin);
        self.file.seek(SeekFrom::Start(at))?;
        Ok(&mut self.file)
    }

    fn is_right(&self, piece: u32, data: &[u8]) -> bool {
        Sha1::digest(data)[..] == self.metainfo.hashes[piece as usize]
    }

    /// Whether one of these pieces is missing.
    pub(crate) fn lacks(&self, theirs: &Bitfield) -> bool {
        let mut bytes = theirs.0.iter().zip(&self.complete.0);
        bytes.any(|(theirs, complete)| theirs & !complete != 0)
    }

    /// Chooses a piece to fetch from a peer that has these.
    pub(crate) fn claim(&mut self, theirs: &Bitfield) -> Option<u32> {
        let mut all = (self.first..self.count()).chain(0..self.first);
        let piece = all.find(|&piece| {
            theirs.has(piece) && !self.complete.has(piece) && !self.claimed[piece as usize]
        })?;
        self.claimed[piece as usize] = true;
        Some(piece)
    }

    /// Lets another peer claim a piece.
    pub(crate) fn release(&mut self, piece: u32) {
        self.claimed[piece as usize] = false;
        self.any_released = true;
    }

    /// Writes a piece that was claimed, if it is right.
    pub(crate) fn store(&mut self, piece: u32, data: &[u8]) -> Result<(), &'static str> {
        if !self.is_right(piece, data) {
            self.release(piece);
            return Err("a piece with a wrong hash");
        }
        let written = self.seek(piece, 0).and_then(|file| file.write_all(data));
        match written {
            Ok(()) => {
                self.complete.set(piece);
                self.missing -= 1;
                self.news.push(piece);
            }
            Err(error) => self.failure = Some(error),
        }
        Ok(())
    }

    /// Returns the message with a block, or why it was refused.
    pub(crate) fn read(&mut self, block: Block) -> Result<Vec<u8>, &'static str> {
        let mut message = wire::encode(wire::PIECE, &[block.piece, block.begin]);
        let header = message.len();
        message.resize(header + block.len as usize, 0);
        let file = self.seek(block.piece, block.begin);
        let read = file.and_then(|file| file.read_exact(&mut message[header..]));
        read.map_err(|_| "the file cannot be read")?;
        Ok(message)
    }
}
