//! Memory of queues, used again.

use super::SendQueue;
use super::send_queue::{BLOCK, BLOCK_MIN, Chunk};

/// Queues and blocks that nobody uses at the moment, kept so that steady traffic allocates nothing.
#[derive(Debug, Default)]
#[allow(
    clippy::vec_box,
    reason = "the box is what is kept: a connection holds it by one pointer"
)]
pub(crate) struct BlockPool {
    pub(super) blocks: Vec<Vec<u8>>,
    pub(super) block_bytes: usize,
    /// Bytes of the blocks that queues hold.
    pub(super) lent: usize,
    /// The most that it ever was.
    lent_max: usize,
    pub(super) queues: Vec<Box<SendQueue>>,
    /// Memory for what sessions seal. One is enough: only blocked connections keep theirs between two writes.
    sealed: Vec<u8>,
}

/// Bytes in spare blocks that are kept in any case: the full queue of one connection, or the first blocks of 4,096.
pub(super) const SPARE_BYTES_MIN: usize = 4 * 1024 * 1024;

/// Bytes in spare blocks at most: those of 128 connections that are filled to their watermark and emptied again and again, an
/// eighth of what all queues may hold by default. More than the minimum is kept only as far as queues and spares together
/// hold no more than queues alone held at their fullest. With 4 MiB in any case, a hundred such senders had their blocks made
/// anew all the time, at twice the processor time (`cargo run --release -p peers -- --only fan-in`, 2026-11-25).
pub(super) const SPARE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes that queues may hold in blocks before those that wait are made to give back what they do not need.
pub(super) const LENT_FREELY: usize = 4 * 1024 * 1024;

/// Queues kept at most, each some 150 bytes: as many as answer in one turn of a busy loop.
pub(super) const SPARE_QUEUES_MAX: usize = 1024;

impl BlockPool {
    pub(crate) fn take_queue(&mut self) -> Box<SendQueue> {
        self.queues.pop().unwrap_or_default()
    }

    /// Takes back a queue, empty or not; what is in it is dropped.
    pub(crate) fn put_queue(&mut self, mut queue: Box<SendQueue>) {
        while let Some(chunk) = queue.chain.pop_front() {
            if let Chunk::Block { bytes, .. } = chunk {
                self.put_block(bytes);
            }
        }
        self.put_block(std::mem::take(&mut queue.tail));
        queue.tracked.clear();
        if self.queues.len() < SPARE_QUEUES_MAX {
            // A chain or a list that grew long once does not stay long for ever.
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

    /// Whether so much is lent that those who wait should not keep what they do not need.
    pub(super) fn are_short(&self) -> bool {
        self.lent > LENT_FREELY
    }

    /// A block, or an empty one for the caller to grow.
    pub(super) fn take_block(&mut self) -> Vec<u8> {
        let block = self.blocks.pop().unwrap_or_default();
        self.block_bytes -= block.len();
        self.note_lent(block.len());
        block
    }

    /// Counts bytes that a queue's blocks have got.
    pub(super) fn note_lent(&mut self, bytes: usize) {
        self.lent += bytes;
        self.lent_max = self.lent_max.max(self.lent);
    }

    /// A block that holds these bytes and no more.
    pub(super) fn copy_out(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.note_lent(bytes.len());
        bytes.to_vec()
    }

    pub(super) fn put_block(&mut self, block: Vec<u8>) {
        debug_assert!(self.lent >= block.len());
        self.lent = self.lent.saturating_sub(block.len());
        let unlent = self.lent_max.saturating_sub(self.lent);
        let most = unlent.clamp(SPARE_BYTES_MIN, SPARE_BYTES_MAX);
        let fits = self.block_bytes + block.len() <= most;
        if fits && (BLOCK_MIN..=BLOCK).contains(&block.len()) {
            self.block_bytes += block.len();
            self.blocks.push(block);
        }
    }
}
