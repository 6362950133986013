//! The send queue of one connection.
//!
//! Small frames are copied into the tail, a block of one of two sizes, which
//! does not grow: a full one moves to the chain. Large bodies are chained
//! without a copy. One gathered write sends chain and tail. An idle connection
//! has no queue: queues and blocks come from the loop's [`BlockPool`] and are
//! returned once they are empty.
//!
//! ```text
//!          chain, oldest first                          tail
//!   ┌─────────┬────────┬──────────────┬─────────┐  ┌──────────┬────────┐
//!   │ block   │ header │ shared bytes │ block   │  │ frames   │ room   │
//!   └─────────┴────────┴──────────────┴─────────┘  └──────────┴────────┘
//!   ▲ `written` bytes of the first one are gone     0      `filled`  capacity
//! ```

mod growth;
mod memory;
mod push;

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::{BlockPool, BodyKey};
use crate::framing::FrameHeader;

pub(super) use growth::BlockSize;
pub(crate) use growth::Growth;

/// Size of a full block, in bytes. It holds a queue that was filled up to the
/// default `high_bytes` with messages of up to 32 KiB: less than 256 KiB, and
/// the message with which the queue reaches them. A write of it takes one
/// slice.
pub(crate) const BLOCK: usize = 256 * 1024 + 32 * 1024 + FrameHeader::BLOCK;

/// Size of a small block, in bytes, for connections with little queued, and for
/// all of them while memory is short.
pub(super) const BLOCK_MIN: usize = 4 * 1024;

/// Minimum length of a shared body that is chained and not copied. Below it, a
/// copy is cheaper than one more slice in the gathered write and a reference
/// count.
pub(crate) const CHAIN_MIN: usize = 16 * 1024;

/// Cost of an entry of the chain, and of a tracked send, beside its bytes. The
/// lists grow by doubling, so an entry may hold the memory of two.
const CHUNK_OVERHEAD: usize = 2 * size_of::<Chunk>();
pub(crate) const TRACKED_OVERHEAD: usize = 2 * size_of::<Tracked>();

/// Maximum number of slices in one gathered write. Linux takes 1,024 (IOV_MAX,
/// writev(2)). 64 slices fill a write budget with bodies that are worth
/// chaining, and fit on the stack.
pub(crate) const SLICES_MAX: usize = 64;

/// The send queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    pub(super) chain: VecDeque<Chunk>,
    /// `..filled` is queued after the chain. A new block is initialised little
    /// by little, as it is filled, so that the rest of its capacity is not
    /// touched. A block that is used again is initialised already.
    pub(super) tail: Vec<u8>,
    pub(super) filled: usize,
    /// Number of written bytes of the first chunk, or of the tail when the
    /// chain is empty.
    pub(super) written: usize,
    /// Number of queued bytes that are not written.
    pub(super) len: usize,
    /// Cost of the entries of `chain` and `tracked`, beside their bytes.
    pub(super) overhead: usize,
    /// Total size of the blocks and bodies of the chain that are not shared.
    pub(super) chained: usize,
    /// Total size of the shared bodies.
    pub(super) shared: usize,
    /// Number of bytes written since the queue was taken from the pool. The
    /// ends of tracked sends are on this scale.
    pub(super) position: u64,
    pub(super) tracked: VecDeque<Tracked>,
}

/// The queue of a connection that has nothing queued.
pub(crate) static EMPTY_QUEUE: SendQueue = SendQueue {
    chain: VecDeque::new(),
    tail: Vec::new(),
    filled: 0,
    written: 0,
    len: 0,
    overhead: 0,
    chained: 0,
    shared: 0,
    position: 0,
    tracked: VecDeque::new(),
};

#[derive(Debug)]
pub(super) enum Chunk {
    Block {
        bytes: Vec<u8>,
        filled: usize,
    },
    FrameHeader {
        block: [u8; FrameHeader::BLOCK],
        len: usize,
    },
    /// A body that only this queue holds.
    Body(Bytes),
    /// A body that several queues hold. It is charged once.
    SharedBody(Bytes, BodyKey),
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Block { bytes, filled } => &bytes[..*filled],
            Self::FrameHeader { block, len } => &block[..*len],
            Self::Body(bytes) | Self::SharedBody(bytes, _) => bytes,
        }
    }
}

#[derive(Debug)]
pub(super) struct Tracked {
    /// End of its frame, on the scale of `position`.
    end: u64,
    token: u64,
}

impl SendQueue {
    /// Returns the number of queued bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of queued bytes plus the cost of keeping them, for
    /// comparison with the limits of the connection.
    #[inline]
    pub(crate) fn cost(&self) -> usize {
        self.len + self.overhead
    }

    /// Returns the memory that the loop's account is charged for this queue.
    #[inline]
    pub(crate) fn charge(&self) -> usize {
        self.chained + self.tail.capacity() + self.overhead
    }

    /// Returns the memory that the queue holds, shared bodies included.
    #[inline]
    pub(crate) fn memory(&self) -> usize {
        self.charge() + self.shared
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number of bytes that fit into the tail.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.tail.capacity() - self.filled
    }

    /// Tracks the frame that was pushed last until its last byte is written.
    pub(crate) fn track(&mut self, token: u64, pool: &mut BlockPool) {
        let end = self.position + self.len as u64;
        self.overhead += TRACKED_OVERHEAD;
        pool.account.charge(TRACKED_OVERHEAD);
        self.tracked.push_back(Tracked { end, token });
    }

    /// Returns the tokens of tracked sends that are not reported, oldest first.
    #[cfg(feature = "sim")]
    pub(crate) fn tracked(&self) -> impl Iterator<Item = u64> + '_ {
        self.tracked.iter().map(|tracked| tracked.token)
    }

    /// Removes the first tracked send and returns its token, if its whole frame
    /// was written.
    pub(crate) fn pop_sent_token(&mut self, pool: &mut BlockPool) -> Option<u64> {
        let first = self.tracked.front()?;
        if first.end > self.position {
            None
        } else {
            self.pop_token(pool)
        }
    }

    /// Removes the first tracked send, written or not, and returns its token.
    pub(crate) fn pop_token(&mut self, pool: &mut BlockPool) -> Option<u64> {
        let tracked = self.tracked.pop_front()?;
        self.overhead -= TRACKED_OVERHEAD;
        pool.account.discharge(TRACKED_OVERHEAD);
        Some(tracked.token)
    }

    /// Borrows the first `budget` bytes of the queue if one slice holds them.
    #[inline]
    pub(crate) fn front_slice(&self, budget: usize) -> Option<&[u8]> {
        if !self.chain.is_empty() {
            return None;
        }
        let bytes = &self.tail[self.written..self.filled];
        Some(&bytes[..bytes.len().min(budget)])
    }

    /// Borrows the first `budget` bytes of the queue as slices. Returns the
    /// number of slices and the number of bytes.
    pub(crate) fn gather<'a>(
        &'a self,
        slices: &mut [IoSlice<'a>; SLICES_MAX],
        budget: usize,
    ) -> (usize, usize) {
        let mut count = 0;
        let mut total = 0;
        let mut skip = self.written;
        let tail = &self.tail[..self.filled];
        for bytes in self.chain.iter().map(Chunk::as_slice).chain([tail]) {
            let bytes = &bytes[skip..];
            skip = 0;
            if bytes.is_empty() {
                continue;
            }
            let taken = bytes.len().min(budget - total);
            slices[count] = IoSlice::new(&bytes[..taken]);
            count += 1;
            total += taken;
            if count == SLICES_MAX || total == budget {
                break;
            }
        }
        (count, total)
    }

    /// Drops the first `count` bytes, which were written.
    pub(crate) fn advance(&mut self, count: usize, pool: &mut BlockPool) {
        debug_assert!(count <= self.len);
        self.position += count as u64;
        self.len -= count;
        self.written += count;
        while let Some(first) = self.chain.front() {
            let len = first.as_slice().len();
            if self.written < len {
                return;
            }
            self.written -= len;
            if let Some(chunk) = self.chain.pop_front() {
                self.put_chunk(chunk, pool);
            }
        }
        if self.written == self.filled {
            self.written = 0;
            self.filled = 0;
        }
    }
}

#[cfg(test)]
mod tests;
