//! Bytes of one connection that were read and are not delivered yet.

use crate::mutants::mutant;

/// A stash up to this many bytes is short.
const SHORT_MAX: usize = 64 * 1024;

/// The bytes of one connection that have been read and are not delivered: the beginning of a frame, or what was left
/// of a batch when the handler paused.
///
/// Grows with the bytes that arrived, at most twofold, and never to the length that a header announces.
#[derive(Debug, Default)]
pub(crate) struct PartialFrame {
    bytes: Vec<u8>,
    /// Not worth a look until this many bytes are there; zero when that is not known.
    need: usize,
}

impl PartialFrame {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn need(&self) -> usize {
        self.need
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is short enough to be copied before what follows it.
    pub(crate) fn is_short(&self) -> bool {
        self.bytes.len() <= SHORT_MAX && self.need <= 4 * SHORT_MAX
    }

    /// Keeps `bytes` in place of what was kept so far.
    pub(crate) fn replace(&mut self, bytes: &[u8], need: usize) {
        self.need = need;
        self.bytes.clear();
        if self.bytes.capacity() > 4 * bytes.len() {
            self.bytes = Vec::new();
        }
        self.append(bytes);
    }

    /// Keeps `bytes` behind what is kept.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if mutant!(SwapWithPartialFrame) {
            self.bytes.splice(0..0, bytes.iter().copied());
            return;
        }
        let (len, capacity) = (self.bytes.len() + bytes.len(), self.bytes.capacity());
        if len > capacity {
            // What is needed may be no more than "another byte", again and again.
            let doubled = if self.need > len {
                self.need.min(2 * capacity)
            } else {
                (capacity + capacity / 2).min(2 * len)
            };
            self.bytes
                .reserve_exact(len.max(doubled) - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Drops the first `count` bytes, which have been delivered.
    pub(crate) fn consume(&mut self, count: usize, need: usize) {
        self.need = need;
        if count == 0 {
            return;
        }
        self.bytes.drain(..count);
        if self.bytes.capacity() > 4 * self.bytes.len() {
            self.bytes.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stash_holds_what_came_and_at_most_twice_that() {
        let mut partial = PartialFrame::default();
        partial.replace(b"x", 8 << 20);
        for _ in 0..3000 {
            partial.append(&[7; 1000]);
            assert!(
                partial.bytes.capacity() <= 2 * partial.len() + 8,
                "{partial:?}"
            );
        }
    }

    #[test]
    fn a_stash_never_grows_beyond_its_frame_by_doubling() {
        let mut partial = PartialFrame::default();
        partial.replace(&[0; 600], 1000);
        partial.append(&[0; 100]);
        assert!(partial.bytes.capacity() <= 1000);
    }

    #[test]
    fn a_stash_that_is_told_of_one_byte_more_each_time_is_seldom_moved() {
        let mut partial = PartialFrame::default();
        partial.replace(&[0; 200_000], 200_001);
        let mut moves = 0;
        for _ in 0..4000 {
            let before = partial.bytes.capacity();
            partial.append(&[7; 1400]);
            moves += usize::from(partial.bytes.capacity() != before);
        }
        assert!(moves < 20, "{moves}");
    }

    #[test]
    fn an_emptied_stash_owns_nothing() {
        let mut partial = PartialFrame::default();
        partial.append(&[1; 1000]);
        partial.consume(1000, 0);
        assert_eq!(partial.bytes.capacity(), 0);
        partial.append(&[1; 1000]);
        partial.replace(&[], 0);
        assert_eq!(partial.bytes.capacity(), 0);
    }

    #[test]
    fn what_is_consumed_is_the_front() {
        let mut partial = PartialFrame::default();
        partial.append(b"abcdef");
        partial.consume(2, 9);
        assert_eq!((partial.as_slice(), partial.need()), (&b"cdef"[..], 9));
    }
}
