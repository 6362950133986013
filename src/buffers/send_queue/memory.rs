//! The blocks and the chain of a queue: taking memory, returning it, and
//! charging it.

use super::growth::BlockSize;
use super::{BLOCK, BLOCK_MIN, CHUNK_OVERHEAD, Chunk, SendQueue};
use crate::buffers::BlockPool;

impl SendQueue {
    /// Returns the first block and the tail if they are full blocks that are
    /// mostly empty: their content is copied to small ones. Other blocks of
    /// the chain have no written bytes.
    ///
    /// Does nothing until memory is short, because the copy costs more than the
    /// memory is worth.
    pub(crate) fn shrink(&mut self, pool: &mut BlockPool) {
        if pool.is_ample() {
            return;
        }
        if let Some(Chunk::Block { bytes, filled }) = self.chain.front() {
            if is_wasted(bytes, filled - self.written) {
                self.shrink_front(pool);
            }
        }
        if is_wasted(&self.tail, self.filled - self.written_of_tail()) {
            let block = std::mem::take(&mut self.tail);
            pool.discharge_block(&block);
            self.copy_to_chain(&block, pool);
            pool.keep_block(block);
        }
    }

    /// Replaces the first block of the chain by small ones.
    fn shrink_front(&mut self, pool: &mut BlockPool) {
        let Some(Chunk::Block { bytes, filled }) = self.chain.pop_front() else {
            return;
        };
        // The block is returned first, so that the account is not charged for
        // both.
        self.chained -= bytes.capacity();
        self.discharge_entry(pool);
        pool.discharge_block(&bytes);
        for piece in bytes[self.written..filled].chunks(BLOCK_MIN).rev() {
            let chunk = self.copied_chunk(piece, pool);
            self.chain.push_front(chunk);
        }
        self.written = 0;
        pool.keep_block(bytes);
    }

    /// Copies the content of the tail, which is in `block`, to small blocks of
    /// the chain.
    fn copy_to_chain(&mut self, block: &[u8], pool: &mut BlockPool) {
        let done = self.written_of_tail();
        self.written -= done;
        let filled = std::mem::take(&mut self.filled);
        for piece in block[done..filled].chunks(BLOCK_MIN) {
            let chunk = self.copied_chunk(piece, pool);
            self.chain.push_back(chunk);
        }
    }

    /// Returns the number of written bytes at the front of the tail.
    fn written_of_tail(&self) -> usize {
        if self.chain.is_empty() {
            self.written
        } else {
            0
        }
    }

    /// Returns an entry of the chain with a copy of at most [`BLOCK_MIN`]
    /// bytes, and charges it.
    fn copied_chunk(&mut self, bytes: &[u8], pool: &mut BlockPool) -> Chunk {
        let mut block = pool.take_block(BlockSize::Small, bytes.len());
        block.clear();
        block.extend_from_slice(bytes);
        self.chained += block.capacity();
        self.charge_entry(pool);
        Chunk::Block {
            bytes: block,
            filled: bytes.len(),
        }
    }

    /// Moves the rest of the content to the front of the tail if it is short.
    pub(super) fn move_rest(&mut self) {
        let movable = self.movable();
        if movable > 0 {
            self.tail.copy_within(movable..self.filled, 0);
            self.filled -= movable;
            self.written = 0;
        }
    }

    /// Returns the number of written bytes at the front of the tail if moving
    /// the rest over them costs little, else zero.
    pub(super) fn movable(&self) -> usize {
        let written = self.written_of_tail();
        if self.filled - written <= written.min(BLOCK_MIN) {
            written
        } else {
            0
        }
    }

    /// Moves a tail without room to the chain, and starts another for `rest`
    /// bytes.
    pub(super) fn start_block(&mut self, size: BlockSize, rest: usize, pool: &mut BlockPool) {
        if self.filled > 0 {
            self.move_tail(pool);
        }
        self.tail = pool.take_block(size, rest);
    }

    /// Moves the content of the tail to the end of the chain.
    pub(super) fn chain_tail(&mut self, pool: &mut BlockPool) {
        if self.copies_tail() {
            let block = std::mem::take(&mut self.tail);
            self.copy_to_chain(&block, pool);
            self.tail = block;
        } else if self.filled > 0 {
            self.move_tail(pool);
        }
    }

    fn move_tail(&mut self, pool: &mut BlockPool) {
        let bytes = std::mem::take(&mut self.tail);
        let filled = std::mem::take(&mut self.filled);
        self.chained += bytes.capacity();
        self.push_chunk(Chunk::Block { bytes, filled }, pool);
    }

    /// Returns whether the content of the tail is copied to small blocks before
    /// a body is chained, so that a few bytes between two bodies do not hold a
    /// full block.
    pub(super) fn copies_tail(&self) -> bool {
        self.tail.capacity() == BLOCK && self.filled <= BLOCK / 8
    }

    pub(super) fn push_chunk(&mut self, chunk: Chunk, pool: &mut BlockPool) {
        self.charge_entry(pool);
        self.chain.push_back(chunk);
    }

    fn charge_entry(&mut self, pool: &mut BlockPool) {
        self.overhead += CHUNK_OVERHEAD;
        pool.account.charge(CHUNK_OVERHEAD);
    }

    fn discharge_entry(&mut self, pool: &mut BlockPool) {
        self.overhead -= CHUNK_OVERHEAD;
        pool.account.discharge(CHUNK_OVERHEAD);
    }

    /// Returns the memory of an entry that was removed from the chain.
    pub(super) fn put_chunk(&mut self, chunk: Chunk, pool: &mut BlockPool) {
        self.discharge_entry(pool);
        match &chunk {
            Chunk::Block { bytes, .. } => self.chained -= bytes.capacity(),
            Chunk::FrameHeader { .. } => {}
            Chunk::Body(bytes) => self.chained -= bytes.len(),
            Chunk::SharedBody(bytes, _) => self.shared -= bytes.len(),
        }
        pool.put_chunk(chunk);
    }

    /// Drops the content and returns its memory.
    pub(in crate::buffers) fn clear(&mut self, pool: &mut BlockPool) {
        while let Some(chunk) = self.chain.pop_front() {
            self.put_chunk(chunk, pool);
        }
        while self.pop_token(pool).is_some() {}
        pool.put_block(std::mem::take(&mut self.tail));
        debug_assert_eq!(self.memory(), 0);
        // The lists keep a small capacity only, because an unused queue is
        // kept.
        self.chain.shrink_to(8);
        self.tracked.shrink_to(8);
        (self.filled, self.written, self.len, self.position) = (0, 0, 0, 0);
    }
}

/// Returns whether a block with `queued` bytes is a full one of which less than
/// half is used.
fn is_wasted(block: &Vec<u8>, queued: usize) -> bool {
    block.capacity() == BLOCK && queued < BLOCK / 2
}
