//! The blocks that a message will take, and their memory, computed before it is
//! queued.

use super::{BLOCK, BLOCK_MIN, CHAIN_MIN, CHUNK_OVERHEAD, Chunk, SendQueue, TRACKED_OVERHEAD};
use crate::buffers::BlockPool;

/// Maximum number of bytes that a queue copies into small blocks while memory
/// is not short. Beyond it the connection has much traffic, or a message to
/// many connections is long.
const COPIED_SMALL_MAX: usize = 4 * BLOCK_MIN;

/// Size of the blocks for a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::buffers) enum BlockSize {
    /// [`BLOCK_MIN`]. A message that fills a full block gets one.
    Small,
    /// [`BLOCK`], or [`BLOCK_MIN`] as soon as memory is short.
    Full,
}

/// Growth of a queue by one message: the memory that it takes, and the part of
/// it that is charged. They differ for a body that is charged already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Growth {
    pub(crate) memory: usize,
    pub(crate) charge: usize,
}

impl Growth {
    #[inline]
    pub(crate) fn charged(bytes: usize) -> Self {
        Self {
            memory: bytes,
            charge: bytes,
        }
    }

    #[inline]
    pub(crate) fn add_charged(&mut self, bytes: usize) {
        self.memory += bytes;
        self.charge += bytes;
    }
}

/// Returns the memory of small blocks with this content.
fn small_blocks(bytes: usize) -> usize {
    bytes.div_ceil(BLOCK_MIN) * (BLOCK_MIN + CHUNK_OVERHEAD)
}

impl SendQueue {
    /// Returns the size of the blocks for a frame of this length, of which at
    /// least a part is to be copied beyond the tail.
    pub(super) fn block_size_for(&self, frame: usize, pool: &BlockPool) -> BlockSize {
        let is_full = match self.tail.capacity() {
            BLOCK => true,
            // A connection with a chain is most likely blocked.
            0 => self.chain.is_empty() && pool.has_full_block(),
            _ => self.ends_with_small_blocks(),
        };
        if is_full || frame > COPIED_SMALL_MAX {
            BlockSize::Full
        } else {
            BlockSize::Small
        }
    }

    /// Returns whether the tail is the last of as many small blocks as a queue
    /// takes while memory is not short.
    fn ends_with_small_blocks(&self) -> bool {
        let before = COPIED_SMALL_MAX / BLOCK_MIN - 1;
        let mut last = self.chain.iter().rev().take(before);
        self.chain.len() >= before && last.all(|chunk| matches!(chunk, Chunk::Block { .. }))
    }

    /// Returns the maximum growth of the queue when a frame of this length is
    /// copied into it.
    #[inline]
    pub(crate) fn growth_of_copy(&self, frame: usize, pool: &BlockPool) -> usize {
        if frame <= self.room() {
            return 0;
        }
        self.growth_of_blocks(frame, pool)
    }

    fn growth_of_blocks(&self, frame: usize, pool: &BlockPool) -> usize {
        let rest = frame.saturating_sub(self.room() + self.movable());
        let last = small_blocks(rest % BLOCK);
        let last = match self.block_size_for(frame, pool) {
            // Memory may become short in between.
            BlockSize::Full if pool.is_ample() => last.max(BLOCK + CHUNK_OVERHEAD),
            _ => last,
        };
        rest / BLOCK * (BLOCK + CHUNK_OVERHEAD) + last
    }

    /// Returns the maximum growth of the queue when a body is chained to it,
    /// beside the body itself.
    pub(crate) fn growth_of_chain(&self) -> usize {
        let copied = if self.copies_tail() {
            small_blocks(self.filled)
        } else {
            0
        };
        copied + 3 * CHUNK_OVERHEAD + BLOCK_MIN
    }

    /// Returns the maximum growth of the queue when it takes a frame of this
    /// length in any form, tracked or not.
    pub(crate) fn growth_max(&self, frame: usize, pool: &BlockPool) -> usize {
        let copied = self.growth_of_copy(frame, pool);
        let chained = self.growth_of_chain() + frame;
        let growth = if frame < CHAIN_MIN {
            copied
        } else {
            copied.max(chained)
        };
        growth + TRACKED_OVERHEAD
    }
}
