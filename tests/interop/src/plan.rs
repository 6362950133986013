//! The messages to send, which both ends calculate from a seed.

use bytes::Bytes;
use fastrand::Rng;

/// A series of messages that both ends can calculate: pieces of one random
/// block at random places, so that a message is made without cost and all are
/// different. The first message is empty and the second has the maximum length.
#[derive(Clone, Debug)]
pub struct Plan {
    block: Bytes,
    random: Rng,
    longest: usize,
    made: usize,
    count: usize,
}

impl Plan {
    /// Returns `count` messages of at most `longest` bytes.
    pub fn new(seed: u64, count: usize, longest: usize) -> Self {
        const SPREAD: usize = 64 * 1024;
        let mut random = Rng::with_seed(seed);
        let mut block = vec![0; longest + SPREAD];
        random.fill(&mut block);
        Self {
            block: block.into(),
            random,
            longest,
            made: 0,
            count,
        }
    }

    /// Returns a series without messages.
    pub fn nothing() -> Self {
        Self::new(0, 0, 0)
    }

    /// Returns the bytes on the wire of all messages that are left, with
    /// headers of this length.
    pub fn bytes_on_the_wire(&self, header: usize) -> u64 {
        let message = |message: Bytes| (header + message.len()) as u64;
        self.clone().map(message).sum()
    }
}

impl Iterator for Plan {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.made == self.count {
            return None;
        }
        let len = match self.made {
            0 => 0,
            1 => self.longest,
            _ => self.random.usize(0..=self.longest),
        };
        let start = self.random.usize(0..=self.block.len() - len);
        self.made += 1;
        Some(self.block.slice(start..start + len))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.count - self.made;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Plan {}

/// Returns a seed and prints it. `PEERLOOP_SEED` chooses it.
pub fn seed() -> u64 {
    let seed = match std::env::var("PEERLOOP_SEED") {
        Ok(text) => text.parse().expect("PEERLOOP_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("PEERLOOP_SEED={seed}");
    seed
}
