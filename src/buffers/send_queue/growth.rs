//! The memory that a message will take, computed before it is queued.

use super::{BLOCK, BLOCK_MIN, CHAIN_MIN, CHUNK_OVERHEAD, SendQueue, TRACKED_OVERHEAD};
use crate::buffers::BlockPool;

/// Returns the length of a block for `bytes`: larger than them by at most a
/// sixteenth or [`BLOCK_MIN`], and at most [`BLOCK`].
#[inline]
pub(in crate::buffers) fn block_len_for(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 16).max(BLOCK_MIN);
    bytes.next_multiple_of(step).clamp(BLOCK_MIN, BLOCK)
}

/// Returns the minimum length to which a block with `filled` bytes grows: twice
/// that, so that each byte is copied about once while a queue grows, or 64 KiB
/// more.
#[inline]
pub(super) fn grown(filled: usize) -> usize {
    (filled + filled.min(64 * 1024)).min(BLOCK)
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

impl SendQueue {
    /// Returns the maximum growth of the queue when a frame of this length is
    /// copied into it.
    #[inline]
    pub(crate) fn growth_of_copy(&self, frame: usize, pool: &BlockPool) -> usize {
        if frame <= self.tail.len() - self.filled {
            return 0;
        }
        self.growth_of_blocks(frame, pool)
    }

    fn growth_of_blocks(&self, frame: usize, pool: &BlockPool) -> usize {
        let total = self.filled - self.movable() + frame;
        if total <= BLOCK {
            let block = if self.tail.is_empty() {
                pool.next_block_len(total)
            } else {
                grown(self.tail.len())
            };
            return block.max(block_len_for(total)) - self.tail.len();
        }
        let full = (total - 1) / BLOCK;
        let last = if pool.is_ample() {
            BLOCK
        } else {
            block_len_for(total - full * BLOCK)
        };
        full * (BLOCK + CHUNK_OVERHEAD) + last - self.tail.len()
    }

    /// Returns the maximum growth of the queue when a body is chained to it,
    /// beside the body itself.
    pub(crate) fn growth_of_chain(&self) -> usize {
        let copied = self.filled.min(self.tail.len() / 4);
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
