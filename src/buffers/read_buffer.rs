//! The buffer into which all sockets of a loop are read.
//!
//! Whole frames are delivered where they lie. What is left of an incomplete frame
//! is copied into the connection's own [`PartialFrame`], which an idle connection
//! does not have.

use super::PartialFrame;

/// The buffer into which all sockets of a loop are read.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    bytes: Box<[u8]>,
    /// Memory for what a session makes of the bytes.
    plaintext: Vec<u8>,
}

impl ReadBuffer {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size].into_boxed_slice(),
            plaintext: Vec::new(),
        }
    }

    /// Makes it at least this large.
    pub(crate) fn grow(&mut self, size: usize) {
        if size > self.bytes.len() {
            *self = Self::new(size);
        }
    }

    /// Lends room to read into. A stash that fits comes first, so that its frame is whole and in one place:
    ///
    /// ```text
    ///   ┌────────────┬──────────────────────────────┐
    ///   │ partial      │ room                         │   front = the partial's length
    ///   └────────────┴──────────────────────────────┘
    /// ```
    ///
    /// A stash that is too long, or whose frame is, stays where it is and `front` is zero: what is read must then be
    /// appended to it.
    pub(crate) fn lend(&mut self, partial: &PartialFrame) -> (usize, &mut [u8]) {
        let fits = partial.len() <= self.bytes.len() / 2 && partial.need() <= self.bytes.len();
        let front = if fits { partial.len() } else { 0 };
        let (kept, room) = self.bytes.split_at_mut(front);
        kept.copy_from_slice(&partial.as_slice()[..front]);
        (front, room)
    }

    /// The first `len` bytes.
    pub(crate) fn filled(&self, len: usize) -> &[u8] {
        &self.bytes[..len]
    }

    /// The first `len` bytes, and memory for what a session makes of them; to be given back.
    pub(crate) fn filled_and_plaintext(&mut self, len: usize) -> (&[u8], Vec<u8>) {
        (&self.bytes[..len], std::mem::take(&mut self.plaintext))
    }

    /// Takes the memory back.
    pub(crate) fn put_plaintext(&mut self, mut plaintext: Vec<u8>) {
        plaintext.clear();
        if plaintext.capacity() <= 2 * self.bytes.len() {
            self.plaintext = plaintext;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fitting_stash_comes_before_the_room() {
        let mut buffer = ReadBuffer::new(8);
        let mut partial = PartialFrame::default();
        partial.replace(b"abc", 6);
        let (front, room) = buffer.lend(&partial);
        assert_eq!((front, room.len()), (3, 5));
        room[..2].copy_from_slice(b"de");
        assert_eq!(buffer.filled(5), b"abcde");
    }

    #[test]
    fn a_stash_that_cannot_become_whole_in_the_buffer_stays() {
        let mut buffer = ReadBuffer::new(8);
        let mut partial = PartialFrame::default();
        partial.replace(b"abc", 9);
        assert_eq!(buffer.lend(&partial).0, 0, "its frame is too long");
        partial.replace(b"abcde", 0);
        assert_eq!(buffer.lend(&partial).0, 0, "it would leave too little room");
    }
}
