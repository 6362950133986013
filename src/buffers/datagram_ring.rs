//! The queue of datagrams of one UDP socket.

use std::net::SocketAddr;

use crate::addr::CompactAddr;

/// Number of bytes that a datagram takes in addition to its own.
const HEADER: usize = CompactAddr::BYTES + 2;

/// Datagrams in the order in which they are sent, in memory that is allocated
/// once. Each datagram is contiguous, behind its address and its length, so
/// that it can be sent without a copy.
///
/// ```text
///  after a start:   ├── free ──┤ first .. last ├──────── free ────────┤
///                              ▲ head          ▲ tail
///
///  after a wrap:    ├ second .. last ├── free ──┤ first .. ├─ unused ─┤
///                                    ▲ tail     ▲ head     ▲ end
/// ```
///
/// A datagram that does not fit behind `tail` goes to the beginning, and the
/// bytes from `end` stay unused until `head` wraps as well. An empty ring
/// starts again at the beginning, so it takes any datagram up to its size.
#[derive(Debug)]
pub(crate) struct DatagramRing {
    bytes: Box<[u8]>,
    /// The position of the first datagram.
    head: usize,
    /// The position after the last datagram.
    tail: usize,
    /// The position after the last datagram before the wrap. `None` if all
    /// datagrams are between `head` and `tail`.
    end: Option<usize>,
    datagrams: usize,
}

impl DatagramRing {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size].into_boxed_slice(),
            head: 0,
            tail: 0,
            end: None,
            datagrams: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.datagrams == 0
    }

    /// Returns the length of the longest datagram that an empty ring takes.
    pub(crate) fn longest(&self) -> usize {
        (self.bytes.len() - HEADER).min(u16::MAX.into())
    }

    /// Returns the number of bytes between the first datagram and the end of
    /// the last one.
    fn used(&self) -> usize {
        match self.end {
            Some(end) => end - self.head + self.tail,
            None => self.tail - self.head,
        }
    }

    /// Returns whether at most half of the ring is used.
    pub(crate) fn is_half_empty(&self) -> bool {
        2 * self.used() <= self.bytes.len()
    }

    /// Returns the position for a datagram of this length, or `None` if there
    /// is no room.
    fn place(&self, len: usize) -> Option<usize> {
        let need = HEADER + len;
        let (from, to) = match self.end {
            Some(_) => (self.tail, self.head),
            None if self.bytes.len() - self.tail >= need => return Some(self.tail),
            None => (0, self.head),
        };
        (to - from >= need).then_some(from)
    }

    /// Returns whether there is room for a datagram of this length.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.place(len).is_some()
    }

    /// Appends a datagram. Returns false if there is no room.
    pub(crate) fn push(&mut self, addr: SocketAddr, datagram: &[u8]) -> bool {
        let Ok(len) = u16::try_from(datagram.len()) else {
            return false;
        };
        let Some(at) = self.place(datagram.len()) else {
            return false;
        };
        if at < self.tail {
            self.end = Some(self.tail);
        }
        let (len, addr) = (len.to_ne_bytes(), CompactAddr::from(addr).to_bytes());
        self.tail = at;
        for part in [&len[..], &addr, datagram] {
            let begin = self.tail;
            self.tail += part.len();
            self.bytes[begin..self.tail].copy_from_slice(part);
        }
        self.datagrams += 1;
        true
    }

    /// Returns the first datagram and its address.
    pub(crate) fn first(&self) -> Option<(SocketAddr, &[u8])> {
        if self.is_empty() {
            return None;
        }
        let record = &self.bytes[self.head..];
        let (len, record) = record.split_first_chunk()?;
        let (addr, record) = record.split_first_chunk()?;
        let len = usize::from(u16::from_ne_bytes(*len));
        Some((CompactAddr::from_bytes(addr).into(), record.get(..len)?))
    }

    /// Removes the first datagram.
    pub(crate) fn pop(&mut self) {
        let Some((_, first)) = self.first() else {
            return;
        };
        self.head += HEADER + first.len();
        self.datagrams -= 1;
        if self.is_empty() {
            (self.head, self.tail, self.end) = (0, 0, None);
        } else if self.end == Some(self.head) {
            (self.head, self.end) = (0, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[test]
    fn empty_ring_takes_its_longest_datagram() {
        for size in [1024, 65_536, 1 << 20] {
            let mut ring = DatagramRing::new(size);
            let longest = vec![7; ring.longest()];
            for _ in 0..3 {
                assert!(ring.push(addr(1), &longest));
                assert!(size > 100_000 || !ring.push(addr(1), b""));
                while ring.first().is_some() {
                    ring.pop();
                }
                assert!(ring.push(addr(1), b"a") && ring.is_half_empty());
                ring.pop();
            }
        }
        // The longest datagram of IPv4.
        assert!(DatagramRing::new(65_536).longest() >= 65_507);
    }

    /// Compares the ring with a plain queue, for lengths that reach each case
    /// of the index arithmetic.
    #[test]
    fn ring_keeps_every_datagram_in_order() {
        let mut state = 1_u64;
        let mut next = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005) + 1;
            (state >> 33) % bound
        };
        let mut ring = DatagramRing::new(1024);
        let mut model: VecDeque<(SocketAddr, Vec<u8>)> = VecDeque::new();
        let (mut refused, mut wraps) = (0, 0);
        for step in 0..200_000_u32 {
            if next(100) < 52 {
                let longest = if next(8) == 0 { ring.longest() } else { 200 };
                let body = vec![step as u8; next(longest as u64 + 1) as usize];
                let addr = addr(step as u16);
                let has_room = ring.has_room(body.len());
                assert_eq!(ring.push(addr, &body), has_room);
                if has_room {
                    model.push_back((addr, body));
                } else {
                    assert!(!model.is_empty(), "an empty ring refused {}", body.len());
                    refused += 1;
                }
            } else {
                ring.pop();
                model.pop_front();
            }
            wraps += usize::from(ring.end.is_some());
            let first = model.front().map(|(addr, body)| (*addr, body.as_slice()));
            assert_eq!(ring.first(), first);
            let held: usize = model.iter().map(|(_, body)| HEADER + body.len()).sum();
            assert_eq!((ring.used(), ring.is_empty()), (held, model.is_empty()));
        }
        assert!(refused > 1000 && wraps > 1000, "{refused} {wraps}");
    }
}
