//! Floor 1: where bytes lie between the socket and the framing.
//!
//! All sockets of a loop are read into one buffer. Whole frames are handed over where they lie; only what is left of
//! a frame in the making is copied out, into the connection's own [`Stash`], which an idle connection does not have.

use crate::planted::planted;

/// A stash up to this many bytes is short.
const SHORT_MAX: usize = 64 * 1024;

/// The bytes of one connection that have been read and are not delivered: the beginning of a frame, or what was left
/// of a batch when the handler paused.
///
/// Grows with the bytes that arrived, at most twofold, and never to the length that a header announces.
#[derive(Debug, Default)]
pub(crate) struct Stash {
    bytes: Vec<u8>,
    /// Not worth a look until this many bytes are there; zero when that is not known.
    need: usize,
}

impl Stash {
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
        if planted!(SwapWithStash) {
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
    ///   │ stash      │ room                         │   front = the stash's length
    ///   └────────────┴──────────────────────────────┘
    /// ```
    ///
    /// A stash that is too long, or whose frame is, stays where it is and `front` is zero: what is read must then be
    /// appended to it.
    pub(crate) fn lend(&mut self, stash: &Stash) -> (usize, &mut [u8]) {
        let fits = stash.len() <= self.bytes.len() / 2 && stash.need <= self.bytes.len();
        let front = if fits { stash.len() } else { 0 };
        let (kept, room) = self.bytes.split_at_mut(front);
        kept.copy_from_slice(&stash.bytes[..front]);
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
    fn a_stash_holds_what_came_and_at_most_twice_that() {
        let mut stash = Stash::default();
        stash.replace(b"x", 8 << 20);
        for _ in 0..3000 {
            stash.append(&[7; 1000]);
            assert!(stash.bytes.capacity() <= 2 * stash.len() + 8, "{stash:?}");
        }
    }

    #[test]
    fn a_stash_never_grows_beyond_its_frame_by_doubling() {
        let mut stash = Stash::default();
        stash.replace(&[0; 600], 1000);
        stash.append(&[0; 100]);
        assert!(stash.bytes.capacity() <= 1000);
    }

    #[test]
    fn a_stash_that_is_told_of_one_byte_more_each_time_is_seldom_moved() {
        let mut stash = Stash::default();
        stash.replace(&[0; 200_000], 200_001);
        let mut moves = 0;
        for _ in 0..4000 {
            let before = stash.bytes.capacity();
            stash.append(&[7; 1400]);
            moves += usize::from(stash.bytes.capacity() != before);
        }
        assert!(moves < 20, "{moves}");
    }

    #[test]
    fn an_emptied_stash_owns_nothing() {
        let mut stash = Stash::default();
        stash.append(&[1; 1000]);
        stash.consume(1000, 0);
        assert_eq!(stash.bytes.capacity(), 0);
        stash.append(&[1; 1000]);
        stash.replace(&[], 0);
        assert_eq!(stash.bytes.capacity(), 0);
    }

    #[test]
    fn what_is_consumed_is_the_front() {
        let mut stash = Stash::default();
        stash.append(b"abcdef");
        stash.consume(2, 9);
        assert_eq!((stash.as_slice(), stash.need()), (&b"cdef"[..], 9));
    }

    #[test]
    fn a_fitting_stash_comes_before_the_room() {
        let mut buffer = ReadBuffer::new(8);
        let mut stash = Stash::default();
        stash.replace(b"abc", 6);
        let (front, room) = buffer.lend(&stash);
        assert_eq!((front, room.len()), (3, 5));
        room[..2].copy_from_slice(b"de");
        assert_eq!(buffer.filled(5), b"abcde");
    }

    #[test]
    fn a_stash_that_cannot_become_whole_in_the_buffer_stays() {
        let mut buffer = ReadBuffer::new(8);
        let mut stash = Stash::default();
        stash.replace(b"abc", 9);
        assert_eq!(buffer.lend(&stash).0, 0, "its frame is too long");
        stash.replace(b"abcde", 0);
        assert_eq!(buffer.lend(&stash).0, 0, "it would leave too little room");
    }
}
