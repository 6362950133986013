//! The buffer into which all sockets of a loop are read.
//!
//! Complete frames are delivered from it without a copy. An incomplete frame is
//! copied into the [`PartialFrame`] of its connection, which an idle connection
//! does not have.

use super::PartialFrame;

/// The buffer into which all sockets of a loop are read.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    bytes: Box<[u8]>,
    /// Memory for decrypted bytes.
    plaintext: Vec<u8>,
}

impl ReadBuffer {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size].into_boxed_slice(),
            plaintext: Vec::new(),
        }
    }

    /// Grows to at least this size.
    pub(crate) fn grow(&mut self, size: usize) {
        if size > self.bytes.len() {
            *self = Self::new(size);
        }
    }

    /// Returns room to read into. A partial frame that fits is copied in front
    /// of the room, so that its frame becomes contiguous:
    ///
    /// ```text
    ///   ┌────────────┬──────────────────────────────┐
    ///   │ partial    │ room                         │   front = the partial's length
    ///   └────────────┴──────────────────────────────┘
    /// ```
    ///
    /// A partial frame that is too long, or that belongs to a frame that is too
    /// long, is not copied, and `front` is zero. Then the read must be appended
    /// to it.
    pub(crate) fn lend(&mut self, partial: &PartialFrame) -> (usize, &mut [u8]) {
        let fits = partial.len() <= self.bytes.len() / 2 && partial.need() <= self.bytes.len();
        let front = if fits { partial.len() } else { 0 };
        let (kept, room) = self.bytes.split_at_mut(front);
        kept.copy_from_slice(&partial.as_slice()[..front]);
        (front, room)
    }

    /// Returns the first `len` bytes.
    pub(crate) fn filled(&self, len: usize) -> &[u8] {
        &self.bytes[..len]
    }

    /// Returns the first `len` bytes, for a session that may decrypt in place,
    /// and memory for the plaintext, which must be returned.
    pub(crate) fn filled_and_plaintext(&mut self, len: usize) -> (&mut [u8], Vec<u8>) {
        (&mut self.bytes[..len], std::mem::take(&mut self.plaintext))
    }

    /// Takes the memory for plaintext back.
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
    fn a_fitting_partial_frame_precedes_the_room() {
        let mut buffer = ReadBuffer::new(8);
        let mut partial = PartialFrame::default();
        partial.replace(b"abc", 6);
        let (front, room) = buffer.lend(&partial);
        assert_eq!((front, room.len()), (3, 5));
        room[..2].copy_from_slice(b"de");
        assert_eq!(buffer.filled(5), b"abcde");
    }

    #[test]
    fn a_partial_frame_that_cannot_fit_stays() {
        let mut buffer = ReadBuffer::new(8);
        let mut partial = PartialFrame::default();
        partial.replace(b"abc", 9);
        assert_eq!(buffer.lend(&partial).0, 0, "its frame is too long");
        partial.replace(b"abcde", 0);
        assert_eq!(buffer.lend(&partial).0, 0, "it would leave too little room");
    }
}
