//! Reuse of the memory of send queues.

use super::SendQueue;
use super::send_queue::{BLOCK, BLOCK_MIN, Chunk};

/// Unused queues and blocks, kept so that steady traffic does not allocate.
#[derive(Debug, Default)]
#[allow(
    clippy::vec_box,
    reason = "the box is what is kept: a connection holds it by one pointer"
)]
pub(crate) struct BlockPool {
    pub(super) blocks: Vec<Vec<u8>>,
    pub(super) block_bytes: usize,
    /// The size of the blocks that queues hold.
    pub(super) lent_bytes: usize,
    /// The maximum of `lent_bytes` so far.
    max_lent_bytes: usize,
    pub(super) queues: Vec<Box<SendQueue>>,
    /// Memory for sealed bytes. One buffer is enough, because only blocked
    /// connections keep theirs between two writes.
    sealed: Vec<u8>,
}

/// The size of unused blocks that are always kept: the full queue of one
/// connection, or the first blocks of 4,096.
pub(super) const SPARE_BYTES_MIN: usize = 4 * 1024 * 1024;

/// The maximum size of unused blocks, in bytes: the blocks of 128 connections
/// that are filled to their high watermark and emptied repeatedly, an eighth of
/// the default limit of the loop.
///
/// More than the minimum is kept only while used and unused blocks together are
/// no larger than the used ones were at their maximum. With a constant 4 MiB, a
/// hundred such senders reallocated their blocks all the time, at twice the
/// processor time (`cargo run --release -p peers -- --only fan-in`,
/// 2026-11-25).
pub(super) const SPARE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// While queues hold no more bytes than this, blocked queues keep memory that
/// they do not need.
pub(super) const LENT_BYTES_MIN: usize = 4 * 1024 * 1024;

/// The maximum number of unused queues, each some 150 bytes: as many as answer
/// in one turn of a busy loop.
pub(super) const SPARE_QUEUES_MAX: usize = 1024;

impl BlockPool {
    pub(crate) fn take_queue(&mut self) -> Box<SendQueue> {
        self.queues.pop().unwrap_or_default()
    }

    /// Takes a queue back and drops its content.
    pub(crate) fn put_queue(&mut self, mut queue: Box<SendQueue>) {
        while let Some(chunk) = queue.chain.pop_front() {
            if let Chunk::Block { bytes, .. } = chunk {
                self.put_block(bytes);
            }
        }
        self.put_block(std::mem::take(&mut queue.tail));
        queue.tracked.clear();
        if self.queues.len() < SPARE_QUEUES_MAX {
            // Lists that once grew long are shrunk.
            queue.chain.shrink_to(8);
            queue.tracked.shrink_to(8);
            (queue.filled, queue.written, queue.len) = (0, 0, 0);
            (queue.overhead, queue.position) = (0, 0);
            self.queues.push(queue);
        }
    }

    pub(crate) fn take_sealed(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sealed)
    }

    pub(crate) fn put_sealed(&mut self, sealed: Vec<u8>) {
        if sealed.capacity() > self.sealed.capacity() && sealed.capacity() <= BLOCK {
            self.sealed = sealed;
        }
    }

    /// Returns whether blocked queues should return memory that they do not
    /// need.
    pub(super) fn should_shrink(&self) -> bool {
        self.lent_bytes > LENT_BYTES_MIN
    }

    /// Returns a block, or an empty one that the caller grows.
    pub(super) fn take_block(&mut self) -> Vec<u8> {
        let block = self.blocks.pop().unwrap_or_default();
        self.block_bytes -= block.len();
        self.note_lent(block.len());
        block
    }

    /// Counts bytes by which the blocks of queues grew.
    pub(super) fn note_lent(&mut self, bytes: usize) {
        self.lent_bytes += bytes;
        self.max_lent_bytes = self.max_lent_bytes.max(self.lent_bytes);
    }

    /// Returns a block with exactly these bytes.
    pub(super) fn copy_out(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.note_lent(bytes.len());
        bytes.to_vec()
    }

    pub(super) fn put_block(&mut self, block: Vec<u8>) {
        debug_assert!(self.lent_bytes >= block.len());
        self.lent_bytes = self.lent_bytes.saturating_sub(block.len());
        let unlent = self.max_lent_bytes.saturating_sub(self.lent_bytes);
        let most = unlent.clamp(SPARE_BYTES_MIN, SPARE_BYTES_MAX);
        let fits = self.block_bytes + block.len() <= most;
        if fits && (BLOCK_MIN..=BLOCK).contains(&block.len()) {
            self.block_bytes += block.len();
            self.blocks.push(block);
        }
    }
}
