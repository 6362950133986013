//! Received bytes of one connection that are not delivered.

use crate::mutants::mutant;

/// The maximum length that counts as short, in bytes.
const SHORT_MAX: usize = 64 * 1024;

/// The received bytes of one connection that are not delivered: the beginning
/// of a frame, or the rest of a batch that a pause interrupted.
///
/// The capacity is at most twice the bytes that arrived, whatever length a
/// header announces.
#[derive(Debug, Default)]
pub(crate) struct PartialFrame {
    bytes: Vec<u8>,
    /// The number of bytes from which decoding can continue; zero if unknown.
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

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Returns whether copying the bytes in front of the following ones is
    /// cheap.
    pub(crate) fn is_short(&self) -> bool {
        self.bytes.len() <= SHORT_MAX && self.need <= 4 * SHORT_MAX
    }

    /// Replaces the kept bytes.
    pub(crate) fn replace(&mut self, bytes: &[u8], need: usize) {
        self.need = need;
        self.bytes.clear();
        if self.bytes.capacity() > 4 * bytes.len() {
            self.bytes = Vec::new();
        }
        self.append(bytes);
    }

    /// Appends to the kept bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        mutant!(SwapWithPartialFrame => return drop(self.bytes.splice(0..0, bytes.to_vec())));
        let (len, capacity) = (self.bytes.len() + bytes.len(), self.bytes.capacity());
        if len > capacity {
            // A custom framer may need only one more byte each time.
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

    /// Drops the first `count` bytes, which were delivered.
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
    fn capacity_is_at_most_twice_the_length() {
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
    fn doubling_never_exceeds_the_frame() {
        let mut partial = PartialFrame::default();
        partial.replace(&[0; 600], 1000);
        partial.append(&[0; 100]);
        assert!(partial.bytes.capacity() <= 1000);
    }

    #[test]
    fn one_byte_needed_each_time_moves_it_rarely() {
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
    fn an_empty_partial_frame_owns_no_memory() {
        let mut partial = PartialFrame::default();
        partial.append(&[1; 1000]);
        partial.consume(1000, 0);
        assert_eq!(partial.bytes.capacity(), 0);
        partial.append(&[1; 1000]);
        partial.replace(&[], 0);
        assert_eq!(partial.bytes.capacity(), 0);
    }

    #[test]
    fn consume_drops_the_front() {
        let mut partial = PartialFrame::default();
        partial.append(b"abcdef");
        partial.consume(2, 9);
        assert_eq!((partial.as_slice(), partial.need()), (&b"cdef"[..], 9));
    }
}
