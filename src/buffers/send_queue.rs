//! What waits to leave, for one connection.
//!
//! Small frames are copied into the tail, a block that grows up to [`BLOCK`] bytes; large bodies are chained without
//! a copy. Everything leaves in one gathered write. An idle connection has no queue at all: queues and blocks come
//! from the loop's [`BlockPool`] and go back there once they are empty.
//!
//! ```text
//!          chain, oldest first                          tail
//!   ┌─────────┬────────┬──────────────┬─────────┐  ┌──────────┬────────┐
//!   │ block   │ header │ shared bytes │ block   │  │ frames   │ room   │
//!   └─────────┴────────┴──────────────┴─────────┘  └──────────┴────────┘
//!   ▲ `written` bytes of the first one are gone     0        `filled`
//! ```

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::BlockPool;
use crate::framing::FrameHeader;

/// The size of a full block: a whole write budget in one slice. With 64 KiB, five slices a write, the stream of
/// 4,096-byte messages was an eighth slower (`cargo bench --bench throughput -- stream`, two cores, 2026-11-22).
pub(crate) const BLOCK: usize = 256 * 1024;

/// The size of a first block, for connections that say little.
pub(super) const BLOCK_MIN: usize = 1024;

/// Shared bodies of at least this many bytes are chained, shorter ones copied: below it a copy is cheaper than one
/// more slice in the gathered write and the reference count.
pub(crate) const CHAIN_MIN: usize = 16 * 1024;

/// What an entry of the chain costs beside its bytes, and what a tracked send costs.
const CHUNK_OVERHEAD: usize = size_of::<Chunk>();
const TRACKED_OVERHEAD: usize = size_of::<Tracked>();

/// What a message of so many bytes can add to that at most: the block before it, its header, its body and as many full blocks
/// as that is copied into, and its token.
pub(crate) fn overhead_max(message: usize) -> usize {
    (4 + message / BLOCK) * CHUNK_OVERHEAD + TRACKED_OVERHEAD
}

/// Slices in one gathered write at most. Linux takes 1,024 (IOV_MAX); 64 fill a write budget with frames that are
/// worth chaining and fit on the stack.
pub(crate) const SLICES_MAX: usize = 64;

/// The queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    pub(super) chain: VecDeque<Chunk>,
    /// Initialised memory; `..filled` is queued, behind the chain.
    pub(super) tail: Vec<u8>,
    pub(super) filled: usize,
    /// Bytes already written of the first chunk, or of the tail when the chain is empty.
    pub(super) written: usize,
    /// Bytes queued and not written.
    pub(super) len: usize,
    /// What the entries of the chain and of `tracked` cost beside their bytes.
    pub(super) overhead: usize,
    /// Bytes written since the queue was last empty-handed; tracked sends are measured on this scale.
    pub(super) position: u64,
    pub(super) tracked: VecDeque<Tracked>,
}

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
    Shared(Bytes),
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Block { bytes, filled } => &bytes[..*filled],
            Self::FrameHeader { block, len } => &block[..*len],
            Self::Shared(bytes) => bytes,
        }
    }
}

#[derive(Debug)]
pub(super) struct Tracked {
    /// Where its last byte ends, on the scale of `position`.
    end: u64,
    token: u64,
}

impl SendQueue {
    /// Bytes that wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that wait and what it costs to keep them, for comparison with the caps.
    #[inline]
    pub(crate) fn cost(&self) -> usize {
        self.len + self.overhead
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a frame with a 4-byte big-endian length if it fits into the tail as it is; `None` if it does not, and
    /// then nothing is appended.
    #[inline]
    pub(crate) fn push_quickly(&mut self, body: &[u8]) -> Option<()> {
        let end = self.filled + 4 + body.len();
        let (header, room) = self
            .tail
            .get_mut(self.filled..end)?
            .split_first_chunk_mut()?;
        *header = (body.len() as u32).to_be_bytes();
        room.copy_from_slice(body);
        self.filled = end;
        self.len += 4 + body.len();
        Some(())
    }

    /// Appends a frame by copying it: its header, its body, and the delimiter if the framing has one.
    #[inline(always)]
    pub(crate) fn push(
        &mut self,
        header: &FrameHeader,
        body: &[u8],
        end: Option<u8>,
        pool: &mut BlockPool,
    ) {
        // The header is stored as a whole block and the body written over what it does not need:
        //
        //   filled   + head.len()        + body.len()   + 1
        //     ├─ header ──┼──── body ─────────┼─ delimiter ┤
        //     ├─ block of 16 ────┤
        let need = FrameHeader::BLOCK + body.len() + 1;
        let room = self.tail.get_mut(self.filled..);
        let Some(room) = room.filter(|room| room.len() >= need) else {
            return self.push_in_parts(header, &[IoSlice::new(body)], end, pool);
        };
        let (start, stop) = (header.len(), header.len() + body.len());
        room[..FrameHeader::BLOCK].copy_from_slice(&header.block());
        room[start..stop].copy_from_slice(body);
        let mut added = stop;
        if let Some(byte) = end {
            room[stop] = byte;
            added += 1;
        }
        self.filled += added;
        self.len += added;
    }

    /// Appends a frame whose body is in several parts, and any frame that does not fit into the tail as it is.
    #[inline(never)]
    pub(crate) fn push_in_parts(
        &mut self,
        header: &FrameHeader,
        parts: &[IoSlice<'_>],
        end: Option<u8>,
        pool: &mut BlockPool,
    ) {
        self.append(header.as_slice(&mut [0; FrameHeader::BLOCK]), pool);
        for part in parts {
            self.append(part, pool);
        }
        self.append(end.as_slice(), pool);
    }

    /// Appends a frame without copying its body.
    pub(crate) fn push_shared(
        &mut self,
        header: &FrameHeader,
        body: Bytes,
        end: Option<u8>,
        pool: &mut BlockPool,
    ) {
        self.seal(pool);
        self.len += header.len() + body.len();
        if header.len() > 0 {
            self.chain_up(Chunk::FrameHeader {
                block: header.block(),
                len: header.len(),
            });
        }
        self.chain_up(Chunk::Shared(body));
        self.append(end.as_slice(), pool);
    }

    /// Remembers to tell of the frame just pushed when its last byte has been written.
    pub(crate) fn track(&mut self, token: u64) {
        let end = self.position + self.len as u64;
        self.overhead += TRACKED_OVERHEAD;
        self.tracked.push_back(Tracked { end, token });
    }

    /// The tokens of tracked sends that are waiting for their answer, in their order.
    #[cfg(feature = "sim")]
    pub(crate) fn tracked(&self) -> impl Iterator<Item = u64> + '_ {
        self.tracked.iter().map(|tracked| tracked.token)
    }

    /// The token of a tracked send whose frame has been written in full.
    pub(crate) fn pop_sent(&mut self) -> Option<u64> {
        let first = self.tracked.front()?;
        if first.end > self.position {
            None
        } else {
            self.pop_lost()
        }
    }

    /// The token of a tracked send that will not be written any more.
    pub(crate) fn pop_lost(&mut self) -> Option<u64> {
        let tracked = self.tracked.pop_front()?;
        self.overhead -= TRACKED_OVERHEAD;
        Some(tracked.token)
    }

    /// Borrows what comes first, up to `budget` bytes; how many slices and bytes that is.
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

    /// Forgets the first `count` bytes: they have been written.
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
            self.overhead -= CHUNK_OVERHEAD;
            if let Some(Chunk::Block { bytes, .. }) = self.chain.pop_front() {
                pool.put_block(bytes);
            }
        }
        if self.written == self.filled {
            self.written = 0;
            self.filled = 0;
        }
    }

    /// Gives back the memory that a connection does not need while it waits for a full socket: what is kept is at
    /// most twice what is queued. While few connections wait that is not worth the copy, and nothing is done: with it a
    /// stream of 256-byte messages took 146 instructions a message, and 113 without (callgrind, 2026-11-25).
    pub(crate) fn shrink(&mut self, pool: &mut BlockPool) {
        if !pool.are_short() {
            return;
        }
        if let Some(Chunk::Block { bytes, filled }) = self.chain.front_mut() {
            if self.written > *filled / 2 {
                let kept = pool.copy_out(&bytes[self.written..*filled]);
                *filled = kept.len();
                self.written = 0;
                pool.put_block(std::mem::replace(bytes, kept));
            }
        }
        // Without a chain what is written is the front of the tail.
        let gone = if self.chain.is_empty() {
            self.written
        } else {
            0
        };
        if self.tail.len() > BLOCK_MIN && self.filled - gone < self.tail.len() / 2 {
            let kept = pool.copy_out(&self.tail[gone..self.filled]);
            self.filled -= gone;
            self.written -= gone;
            pool.put_block(std::mem::replace(&mut self.tail, kept));
        }
    }

    fn append(&mut self, mut bytes: &[u8], pool: &mut BlockPool) {
        self.len += bytes.len();
        while !bytes.is_empty() {
            if self.filled == self.tail.len() {
                self.make_room(bytes.len(), pool);
            }
            let room = &mut self.tail[self.filled..];
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
        }
    }

    /// Makes the tail longer, or seals a full one and begins another.
    fn make_room(&mut self, wanted: usize, pool: &mut BlockPool) {
        // Behind a chain the connection is most likely blocked, and a few bytes are not to hold a whole block.
        if self.tail.is_empty() && self.chain.is_empty() {
            self.tail = pool.take_block();
        }
        if self.filled == BLOCK {
            self.seal(pool);
        }
        if self.filled == self.tail.len() {
            let size = (self.filled + wanted)
                .next_power_of_two()
                .clamp(BLOCK_MIN, BLOCK);
            pool.note_lent(size - self.tail.len());
            self.tail.resize(size, 0);
        }
    }

    /// Moves the frames of the tail to the end of the chain. A tail that is nearly empty is copied, so that a few
    /// bytes between two chained bodies do not hold a whole block.
    fn seal(&mut self, pool: &mut BlockPool) {
        if self.filled == 0 {
            return;
        }
        let filled = std::mem::take(&mut self.filled);
        let bytes = if filled > self.tail.len() / 4 {
            std::mem::replace(&mut self.tail, pool.take_block())
        } else {
            pool.copy_out(&self.tail[..filled])
        };
        self.chain_up(Chunk::Block { bytes, filled });
    }

    fn chain_up(&mut self, chunk: Chunk) {
        self.overhead += CHUNK_OVERHEAD;
        self.chain.push_back(chunk);
    }
}

#[cfg(test)]
mod tests;
