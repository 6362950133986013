//! The blocks and the chain of a queue: taking memory, returning it, and
//! charging it.

use super::growth::{block_len_for, grown};
use super::{BLOCK, BLOCK_MIN, CHUNK_OVERHEAD, Chunk, SendQueue};
use crate::buffers::BlockPool;

impl SendQueue {
    /// Returns memory that a blocked connection does not need. Afterwards the
    /// queue holds at most twice the queued bytes.
    ///
    /// Does nothing while the queues of the loop hold little, because then the
    /// copy costs more than the memory is worth.
    pub(crate) fn shrink(&mut self, pool: &mut BlockPool) {
        if !pool.should_shrink() {
            return;
        }
        if let Some(Chunk::Block { bytes, filled }) = self.chain.front_mut() {
            if self.written > *filled / 2 {
                let before = bytes.len();
                pool.trim_block(bytes, self.written..*filled);
                self.chained = self.chained - before + bytes.len();
                *filled = bytes.len();
                self.written = 0;
            }
        }
        // Without a chain, the written bytes are at the front of the tail.
        let done = if self.chain.is_empty() {
            self.written
        } else {
            0
        };
        if self.tail.len() > BLOCK_MIN && self.filled - done < self.tail.len() / 2 {
            pool.trim_block(&mut self.tail, done..self.filled);
            self.filled -= done;
            self.written -= done;
        }
    }

    /// Makes room in the tail: moves its content to the front, grows it, or
    /// moves a full tail to the chain and starts another.
    pub(super) fn make_room(&mut self, wanted: usize, pool: &mut BlockPool) {
        let movable = self.movable();
        if movable > 0 {
            self.tail.copy_within(movable..self.filled, 0);
            self.filled -= movable;
            self.written = 0;
        }
        // A connection with a chain is most likely blocked. A few more bytes
        // should not take a whole block there.
        let mut is_steady = self.chain.is_empty();
        if self.filled == BLOCK {
            self.chain_tail(pool);
            is_steady = true;
        }
        if self.tail.is_empty() && is_steady {
            self.tail = pool.take_block(wanted);
        }
        if self.tail.len() - self.filled < wanted && self.tail.len() < BLOCK {
            let size = grown(self.filled).max(block_len_for(self.filled + wanted));
            pool.note_lent(size - self.tail.len());
            self.tail.reserve_exact(size - self.tail.len());
            self.tail.resize(size, 0);
        }
    }

    /// Returns the number of written bytes at the front of the tail if moving
    /// the rest over them is worth the copy, else zero. It is worth it if the
    /// rest is no longer than they are.
    pub(super) fn movable(&self) -> usize {
        if self.chain.is_empty() && 2 * self.written >= self.filled {
            self.written
        } else {
            0
        }
    }

    /// Moves the tail to the end of the chain. A tail that is nearly empty is
    /// copied instead, so that a few bytes between two chained bodies do not
    /// hold a whole block.
    pub(super) fn chain_tail(&mut self, pool: &mut BlockPool) {
        if self.filled == 0 {
            return;
        }
        let filled = std::mem::take(&mut self.filled);
        let bytes = if filled > self.tail.len() / 4 {
            std::mem::take(&mut self.tail)
        } else {
            pool.copy_out(&self.tail[..filled])
        };
        self.chained += bytes.len();
        self.push_chunk(Chunk::Block { bytes, filled }, pool);
    }

    pub(super) fn push_chunk(&mut self, chunk: Chunk, pool: &mut BlockPool) {
        self.overhead += CHUNK_OVERHEAD;
        pool.account.charge(CHUNK_OVERHEAD);
        self.chain.push_back(chunk);
    }

    /// Returns the memory of an entry that was removed from the chain.
    pub(super) fn put_chunk(&mut self, chunk: Chunk, pool: &mut BlockPool) {
        self.overhead -= CHUNK_OVERHEAD;
        pool.account.discharge(CHUNK_OVERHEAD);
        match &chunk {
            Chunk::Block { bytes, .. } => self.chained -= bytes.len(),
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
