//! The buffer into which all sockets of a loop are read.
//!
//! Complete frames are delivered from it without a copy. An incomplete frame is
//! copied into the [`PartialFrame`](super::PartialFrame) of its connection. An
//! idle connection has no `PartialFrame`.

use crate::counts::Count;

/// The size of a page. The room begins in the middle of a page, because Linux
/// copies page by page, and on AMD Zen 3 `rep movsb` is several times slower if
/// the destination begins 1 to 31 bytes after the source, modulo 4,096. A large
/// allocation begins 16 bytes into a page.
const PAGE: usize = 4096;

/// Maximum number of bytes before the room, for bytes that a session did not
/// take.
const FRONT: usize = 32 * PAGE;

/// The buffer into which all sockets of a loop are read.
///
/// ```text
///   ├── front: untaken bytes of a session ──┼── room ──┤
///                                           ▲ a page boundary plus 2,048
/// ```
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    bytes: Box<[u8]>,
    /// Start and length of the room.
    start: usize,
    len: usize,
    /// Memory for decrypted bytes, reused between reads.
    plaintext: Vec<u8>,
}

impl ReadBuffer {
    pub(crate) fn new(len: usize) -> Self {
        let bytes = vec![0; FRONT + 2 * PAGE + len].into_boxed_slice();
        // An allocator may ignore the alignment. Then only the speed suffers.
        let to_page = bytes.as_ptr().align_offset(PAGE).min(PAGE);
        Self {
            bytes,
            start: FRONT + to_page + PAGE / 2,
            len,
            plaintext: Vec::new(),
        }
    }

    /// Grows the room to at least `len` bytes.
    pub(crate) fn grow(&mut self, len: usize) {
        if len > self.len {
            *self = Self::new(len);
        }
    }

    /// Returns the length of the room.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns room for at most `max` bytes to read into.
    pub(crate) fn room(&mut self, max: usize) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len.min(max)]
    }

    /// Returns the first `len` bytes of the room.
    pub(crate) fn filled(&self, len: usize) -> &[u8] {
        &self.bytes[self.start..self.start + len]
    }

    /// Returns the first `len` bytes of the room, for a session that may
    /// decrypt in place. The bytes in `untaken`, which the session did not take
    /// before, are copied in front of them, so that the record is contiguous.
    /// Returns `None` if there are more than [`FRONT`] of them.
    pub(crate) fn filled_after(&mut self, untaken: &[u8], len: usize) -> Option<&mut [u8]> {
        if untaken.len() > FRONT {
            return None;
        }
        Count::CopiedBytes.add(untaken.len());
        let front = self.start - untaken.len();
        self.bytes[front..self.start].copy_from_slice(untaken);
        Some(&mut self.bytes[front..self.start + len])
    }

    /// Takes the memory for plaintext. Return it with
    /// [`ReadBuffer::put_plaintext`].
    pub(crate) fn take_plaintext(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.plaintext)
    }

    /// Takes the memory for plaintext back.
    pub(crate) fn put_plaintext(&mut self, mut plaintext: Vec<u8>) {
        plaintext.clear();
        if plaintext.capacity() <= 2 * self.len {
            self.plaintext = plaintext;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_begins_in_the_middle_of_a_page() {
        for len in [4096, 100_000, 256 * 1024] {
            let mut buffer = ReadBuffer::new(len);
            let room = buffer.room(usize::MAX);
            assert_eq!((room.as_ptr() as usize % PAGE, room.len()), (PAGE / 2, len));
            assert_eq!(buffer.room(10).len(), 10);
        }
    }

    #[test]
    fn untaken_bytes_precede_the_room() {
        let mut buffer = ReadBuffer::new(8);
        buffer.room(2).copy_from_slice(b"de");
        let bytes = buffer.filled_after(b"abc", 2).map(|bytes| bytes.to_vec());
        assert_eq!(bytes.as_deref(), Some(&b"abcde"[..]));
        assert_eq!(buffer.filled(2), b"de");
        assert!(buffer.filled_after(&[0; FRONT + 1], 2).is_none());
    }
}
