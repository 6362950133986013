//! Received bytes of one connection that are not delivered.

use crate::counts::Count;
use crate::mutants::mutant;

/// The received bytes of one connection that are not delivered: the beginning
/// of a frame, or the rest of a batch that was interrupted.
///
/// ```text
///   0          start              filled        bytes.len()
///   ├─ delivered ─┼──── kept ────────┼──── room ─────┤
/// ```
///
/// The memory is at most twice the number of bytes that arrived. It does not
/// depend on the length that a frame header announces.
#[derive(Debug, Default)]
pub(crate) struct PartialFrame {
    /// Initialised memory, because sockets are read into it. A `Vec` would be
    /// larger by a capacity, and every connection has this struct.
    bytes: Box<[u8]>,
    start: usize,
    filled: usize,
    /// Number of kept bytes from which decoding can continue. Zero if unknown.
    need: usize,
}

/// Minimum number of bytes to append while the length of the frame is unknown.
const GUESS_MIN: usize = 1024;

impl PartialFrame {
    pub(crate) fn len(&self) -> usize {
        self.filled - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn need(&self) -> usize {
        self.need
    }

    pub(crate) fn set_need(&mut self, need: usize) {
        self.need = need;
    }

    /// Returns whether the kept bytes may contain a complete frame.
    pub(crate) fn is_undecoded(&self) -> bool {
        self.len() >= self.need.max(1)
    }

    /// Returns whether more than this many bytes are missing from the frame.
    pub(crate) fn misses_more_than(&self, bytes: usize) -> bool {
        !self.is_empty() && self.need > self.len().saturating_add(bytes)
    }

    /// Returns the size of the memory that is held, in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..self.filled]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.filled]
    }

    /// Returns the number of bytes that the incomplete frame needs next. If
    /// that is unknown, the number grows with the kept bytes, so that few bytes
    /// are decoded twice.
    pub(crate) fn wanted(&self) -> usize {
        let missing = self.need.saturating_sub(self.len());
        if missing > 1 {
            missing
        } else {
            GUESS_MIN.max(self.len())
        }
    }

    /// Replaces the kept bytes.
    pub(crate) fn replace(&mut self, bytes: &[u8], need: usize) {
        self.need = need;
        (self.start, self.filled) = (0, 0);
        if self.bytes.len() > 2 * bytes.len() {
            self.bytes = Box::default();
        }
        self.append(bytes);
    }

    /// Appends to the kept bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        mutant!(SwapWithPartialFrame => return self.prepend(bytes));
        self.make_room(bytes.len());
        self.bytes[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
        Count::CopiedBytes.add(bytes.len());
    }

    #[cfg(peerloop_mutants)]
    fn prepend(&mut self, bytes: &[u8]) {
        let all = [bytes, self.as_slice()].concat();
        (self.start, self.filled) = (0, all.len());
        self.bytes = all.into_boxed_slice();
    }

    /// Returns room for at most `max` bytes, to read the rest of an incomplete
    /// frame into. Call [`PartialFrame::add_filled`] afterwards.
    pub(crate) fn room(&mut self, max: usize) -> &mut [u8] {
        if self.filled == self.bytes.len() {
            self.make_room(1);
        }
        let end = self.bytes.len().min(self.filled.saturating_add(max));
        &mut self.bytes[self.filled..end]
    }

    pub(crate) fn add_filled(&mut self, count: usize) {
        debug_assert!(self.filled + count <= self.bytes.len());
        self.filled += count;
    }

    /// Makes room for `more` bytes. The memory grows to the length of the
    /// frame, but at most to twice the filled part. If the length is unknown,
    /// it grows by half.
    fn make_room(&mut self, more: usize) {
        let (end, size) = (self.filled + more, self.bytes.len());
        if end <= size {
            return;
        }
        // A custom framer may ask for one more byte each time, so growth is
        // geometric in both cases.
        let doubled = if self.need > end - self.start {
            (self.start + self.need).min(2 * self.filled)
        } else {
            (size + size / 2).min(2 * end)
        };
        let size = end.max(doubled);
        let mut bytes = std::mem::take(&mut self.bytes).into_vec();
        bytes.reserve_exact(size - bytes.len());
        bytes.resize(size, 0);
        self.bytes = bytes.into_boxed_slice();
    }

    /// Drops the first `count` bytes, which were delivered. The others are not
    /// moved.
    pub(crate) fn skip(&mut self, count: usize) {
        self.start += count;
        self.need = 0;
        debug_assert!(self.start <= self.filled);
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Drops the first `count` bytes, which were delivered. The others are the
    /// beginning of a frame and are moved to the front, once.
    pub(crate) fn consume(&mut self, count: usize, need: usize) {
        self.skip(count);
        self.need = need;
        if self.start == 0 {
            return;
        }
        let len = self.len();
        Count::CopiedBytes.add(len);
        if self.bytes.len() > 2 * len {
            self.bytes = self.as_slice().into();
        } else {
            self.bytes.copy_within(self.start..self.filled, 0);
        }
        (self.start, self.filled) = (0, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_at_most_twice_the_length() {
        let mut partial = PartialFrame::default();
        partial.replace(b"x", 8 << 20);
        for n in 0..3000 {
            if n % 2 == 0 {
                partial.append(&[7; 1000]);
            } else {
                let room = partial.room(1000).len();
                partial.add_filled(room);
            }
            let (capacity, len) = (partial.capacity(), partial.len());
            assert!(capacity <= 2 * len + 8, "{capacity} for {len}");
        }
    }

    #[test]
    fn doubling_never_exceeds_the_frame() {
        let mut partial = PartialFrame::default();
        partial.replace(&[0; 600], 1000);
        partial.append(&[0; 100]);
        assert!(partial.capacity() <= 1000);
        assert_eq!(partial.room(usize::MAX).len(), 300);
    }

    #[test]
    fn one_byte_needed_each_time_moves_it_rarely() {
        let mut partial = PartialFrame::default();
        partial.replace(&[0; 200_000], 200_001);
        let mut moves = 0;
        for _ in 0..4000 {
            let before = partial.capacity();
            partial.append(&[7; 1400]);
            moves += usize::from(partial.capacity() != before);
        }
        assert!(moves < 20, "{moves}");
    }

    #[test]
    fn an_empty_partial_frame_owns_no_memory() {
        let mut partial = PartialFrame::default();
        partial.append(&[1; 1000]);
        partial.consume(1000, 0);
        assert_eq!(partial.capacity(), 0);
        partial.append(&[1; 1000]);
        partial.skip(1000);
        assert_eq!(partial.capacity(), 0);
        partial.append(&[1; 1000]);
        partial.replace(&[], 0);
        assert_eq!(partial.capacity(), 0);
    }

    #[test]
    fn memory_of_a_long_message_is_returned() {
        let mut partial = PartialFrame::default();
        partial.append(&[1; 100_000]);
        partial.consume(99_999, 8);
        assert!(partial.capacity() <= 4, "{}", partial.capacity());
        partial.replace(&[1; 100_000], 0);
        partial.replace(&[1; 10], 0);
        assert!(partial.capacity() <= 20, "{}", partial.capacity());
    }

    #[test]
    fn consume_and_skip_drop_the_front() {
        let mut partial = PartialFrame::default();
        partial.append(b"abcdefgh");
        partial.skip(2);
        assert_eq!((partial.as_slice(), partial.need()), (&b"cdefgh"[..], 0));
        partial.consume(2, 9);
        assert_eq!((partial.as_slice(), partial.need()), (&b"efgh"[..], 9));
    }
}
