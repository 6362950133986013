//! Reuse of the memory of send queues.

use std::ops::Range;

use super::send_queue::{BLOCK, BLOCK_MIN, Chunk, block_len_for};
use super::{BodyKey, SendAccount, SendQueue, SharedBodies};

/// Unused queues and blocks, kept so that steady traffic does not allocate, and
/// the account of the memory that queues hold.
#[derive(Debug, Default)]
#[allow(
    clippy::vec_box,
    reason = "the box is what is kept: a connection holds it by one pointer"
)]
pub(crate) struct BlockPool {
    pub(super) blocks: Vec<Vec<u8>>,
    pub(super) block_bytes: usize,
    /// Total size of the blocks that queues hold, in bytes.
    pub(super) lent_bytes: usize,
    pub(super) queues: Vec<Box<SendQueue>>,
    /// Number of queues that connections hold.
    lent_queues: usize,
    peak: Peak,
    /// Memory for sealed bytes. One buffer is enough, because only blocked
    /// connections keep theirs between two writes.
    sealed: Vec<u8>,
    pub(crate) account: SendAccount,
    pub(crate) bodies: SharedBodies,
    /// A queue may take a larger block than it needs while the account holds
    /// less than this.
    pub(super) ample_below: usize,
}

/// Maximum of the memory that queues held, in the current window of flushes and
/// in the one before it.
#[derive(Debug, Default)]
struct Peak {
    flushes: u32,
    bytes: usize,
    last_bytes: usize,
    queues: usize,
    last_queues: usize,
}

impl Peak {
    fn note(&mut self, bytes: usize, queues: usize) {
        self.bytes = self.bytes.max(bytes);
        self.queues = self.queues.max(queues);
    }

    fn bytes(&self) -> usize {
        self.bytes.max(self.last_bytes)
    }

    fn queues(&self) -> usize {
        self.queues.max(self.last_queues)
    }
}

/// Number of flushes in a window. Memory that was not used for two windows is
/// freed, so a burst that repeats within a window finds its blocks.
pub(super) const WINDOW: u32 = 128;

/// Maximum total size of unused blocks, in bytes: the blocks of 128 connections
/// that are filled to their high watermark and emptied repeatedly. It is an
/// eighth of the default limit of the loop.
///
/// Used and unused blocks together are no larger than the used blocks were at
/// their maximum in the last two windows of [`WINDOW`] flushes. A constant
/// maximum of a few MiB is not enough: a hundred such senders would reallocate
/// their blocks all the time (the row "fan-in" of `benches/peers`).
pub(super) const SPARE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Blocked queues keep memory that they do not need while all queues together
/// hold at most this many bytes.
pub(super) const LENT_BYTES_MIN: usize = 4 * 1024 * 1024;

/// Maximum number of unused queues. It is the number of connections that may
/// answer in one turn of a busy loop. Each takes some 150 bytes.
pub(super) const SPARE_QUEUES_MAX: usize = 1024;

impl BlockPool {
    /// Makes the pool of a loop whose account may hold `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            ample_below: (limit / 2).saturating_sub(16 * BLOCK),
            ..Self::default()
        }
    }

    #[inline]
    pub(crate) fn take_queue(&mut self) -> Box<SendQueue> {
        self.lent_queues += 1;
        self.queues.pop().unwrap_or_default()
    }

    /// Takes a queue back and drops its content.
    pub(crate) fn put_queue(&mut self, mut queue: Box<SendQueue>) {
        self.peak.note(self.lent_bytes, self.lent_queues);
        self.lent_queues = self.lent_queues.saturating_sub(1);
        queue.clear(self);
        if self.queues.len() < SPARE_QUEUES_MAX {
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

    /// Counts a flush, and drops unused memory at the end of a window.
    pub(crate) fn end_flush(&mut self) {
        let peak = &mut self.peak;
        peak.flushes += 1;
        if peak.flushes < WINDOW {
            return;
        }
        peak.note(self.lent_bytes, self.lent_queues);
        *peak = Peak {
            last_bytes: peak.bytes,
            last_queues: peak.queues,
            ..Peak::default()
        };
        let most = self.spare_bytes_max();
        while self.block_bytes > most {
            let Some(block) = self.blocks.pop() else {
                break;
            };
            self.block_bytes -= block.len();
        }
        let most = self.peak.queues().saturating_sub(self.lent_queues);
        self.queues.truncate(most);
        if self.peak.bytes() == 0 {
            self.sealed = Vec::new();
        }
    }

    /// Returns the maximum total size of unused blocks, in bytes.
    fn spare_bytes_max(&self) -> usize {
        let unlent = self.peak.bytes().saturating_sub(self.lent_bytes);
        unlent.min(SPARE_BYTES_MAX)
    }

    /// Charges a body that several queues will hold.
    pub(crate) fn insert_body(&mut self, bytes: usize) -> BodyKey {
        self.bodies.insert(bytes, &mut self.account)
    }

    pub(super) fn add_reader(&mut self, key: BodyKey) {
        self.bodies.add_reader(key);
    }

    /// Takes back the memory of an entry of a chain.
    pub(super) fn put_chunk(&mut self, chunk: Chunk) {
        match chunk {
            Chunk::Block { bytes, .. } => self.put_block(bytes),
            Chunk::FrameHeader { .. } => {}
            Chunk::Body(bytes) => self.account.discharge(bytes.len()),
            Chunk::SharedBody(_, key) => self.bodies.remove_reader(key, &mut self.account),
        }
    }

    /// Returns whether blocked queues should return memory that they do not
    /// need.
    pub(super) fn should_shrink(&self) -> bool {
        self.lent_bytes > LENT_BYTES_MIN
    }

    /// Returns whether a queue may take a larger block than it needs.
    #[inline]
    pub(super) fn is_ample(&self) -> bool {
        self.account.used() < self.ample_below
    }

    /// Returns the length of the block that [`BlockPool::take_block`] returns
    /// for `wanted` bytes.
    #[inline]
    pub(super) fn next_block_len(&self, wanted: usize) -> usize {
        let len = block_len_for(wanted);
        match self.blocks.last() {
            Some(block) if block.len() <= len || self.is_ample() => block.len(),
            _ => 0,
        }
    }

    /// Returns a block for `wanted` bytes. The block may be shorter or empty;
    /// then the caller grows it.
    pub(super) fn take_block(&mut self, wanted: usize) -> Vec<u8> {
        if self.next_block_len(wanted) == 0 {
            return Vec::new();
        }
        let block = self.blocks.pop().unwrap_or_default();
        self.block_bytes -= block.len();
        self.note_lent(block.len());
        block
    }

    /// Charges `bytes` by which the blocks of queues grew.
    pub(super) fn note_lent(&mut self, bytes: usize) {
        self.lent_bytes += bytes;
        self.account.charge(bytes);
    }

    /// Returns a new block that contains exactly `bytes`.
    pub(super) fn copy_out(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.note_lent(bytes.len());
        bytes.to_vec()
    }

    /// Replaces a block by a new one that contains exactly the bytes in `kept`.
    pub(super) fn trim_block(&mut self, block: &mut Vec<u8>, kept: Range<usize>) {
        let kept = block[kept].to_vec();
        // The old block is returned first, so that the account is not charged
        // for both.
        self.put_block(std::mem::replace(block, kept));
        self.note_lent(block.len());
    }

    pub(super) fn put_block(&mut self, block: Vec<u8>) {
        debug_assert!(self.lent_bytes >= block.len());
        self.peak.note(self.lent_bytes, self.lent_queues);
        self.lent_bytes = self.lent_bytes.saturating_sub(block.len());
        self.account.discharge(block.len());
        let fits = self.block_bytes + block.len() <= self.spare_bytes_max();
        if fits && (BLOCK_MIN..=BLOCK).contains(&block.len()) {
            self.block_bytes += block.len();
            self.blocks.push(block);
        }
    }
}

#[cfg(test)]
mod tests;
