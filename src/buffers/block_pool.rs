//! Reuse of the memory of send queues.

use super::send_queue::{BLOCK, BLOCK_MIN, BlockSize, Chunk};
use super::{BodyKey, SendAccount, SendQueue, SharedBodies};

/// Unused queues and blocks, kept so that steady traffic does not allocate, and
/// the account of the memory that queues hold.
#[derive(Debug, Default)]
#[allow(
    clippy::vec_box,
    reason = "the box is what is kept: a connection holds it by one pointer"
)]
pub(crate) struct BlockPool {
    /// Unused blocks of [`BLOCK`] bytes.
    full: Vec<Vec<u8>>,
    /// Unused blocks of [`BLOCK_MIN`] bytes.
    small: Vec<Vec<u8>>,
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
    /// Memory is not short while the account holds at most this, a full block
    /// included.
    ample: usize,
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

/// The part of the loop's limit up to which memory is not short, as a divisor.
/// Up to there, a queue takes a full block for more than a few messages, and a
/// blocked one keeps it. By default it is 64 MiB: more than 200 connections
/// that stream at a time.
const AMPLE_PART: usize = 4;

/// Maximum number of unused queues. It is the number of connections that may
/// answer in one turn of a busy loop. Each takes some 150 bytes.
pub(super) const SPARE_QUEUES_MAX: usize = 1024;

impl BlockPool {
    /// Makes the pool of a loop whose account may hold `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            ample: limit / AMPLE_PART,
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
        self.trim();
        let most = self.peak.queues().saturating_sub(self.lent_queues);
        self.queues.truncate(most);
        if self.peak.bytes() == 0 {
            self.sealed = Vec::new();
        }
    }

    /// Frees unused blocks beyond the maximum.
    fn trim(&mut self) {
        let most = self.spare_bytes_max();
        while self.spare_bytes() > most {
            // Small blocks cost less to allocate and to initialise.
            let block = self.small.pop().or_else(|| self.full.pop());
            drop(block);
        }
    }

    /// Returns the total size of unused blocks, in bytes.
    pub(super) fn spare_bytes(&self) -> usize {
        self.full.len() * BLOCK + self.small.len() * BLOCK_MIN
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

    /// Returns whether a queue may take and keep memory that it does not need.
    #[inline]
    pub(super) fn is_ample(&self) -> bool {
        self.account.used() + BLOCK <= self.ample
    }

    /// Returns whether a full block can be taken without an allocation.
    pub(super) fn has_full_block(&self) -> bool {
        !self.full.is_empty()
    }

    /// Returns a block for `rest` bytes, of which the caller copies as many as
    /// fit. A new one is not initialised.
    pub(super) fn take_block(&mut self, size: BlockSize, rest: usize) -> Vec<u8> {
        let is_full = rest >= BLOCK || (size == BlockSize::Full && self.is_ample());
        let (spare, capacity) = if is_full {
            (&mut self.full, BLOCK)
        } else {
            (&mut self.small, BLOCK_MIN)
        };
        let block = match spare.pop() {
            Some(block) => block,
            None => {
                self.trim();
                Vec::with_capacity(capacity)
            }
        };
        self.lent_bytes += block.capacity();
        self.account.charge(block.capacity());
        block
    }

    pub(super) fn put_block(&mut self, block: Vec<u8>) {
        self.discharge_block(&block);
        self.keep_block(block);
    }

    pub(super) fn discharge_block(&mut self, block: &Vec<u8>) {
        debug_assert!(self.lent_bytes >= block.capacity());
        self.peak.note(self.lent_bytes, self.lent_queues);
        self.lent_bytes = self.lent_bytes.saturating_sub(block.capacity());
        self.account.discharge(block.capacity());
    }

    /// Keeps an unused block for reuse, or frees it.
    pub(super) fn keep_block(&mut self, block: Vec<u8>) {
        match block.capacity() {
            BLOCK => self.full.push(block),
            BLOCK_MIN => self.small.push(block),
            // A queue without a tail.
            _ => return,
        }
        self.trim();
    }
}

#[cfg(test)]
mod tests;
