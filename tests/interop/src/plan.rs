//! The messages to send, known to both ends from one number.

use bytes::Bytes;
use fastrand::Rng;

#[allow(dead_code, unreachable_pub, reason = "one of the helpers is used")]
#[path = "../../it/util/settings.rs"]
mod settings;

/// A series of messages that both ends can calculate: pieces of one random block at
/// random places, so that a message costs almost nothing to make and all are
/// different. The first message is the shortest possible, the second the longest,
/// so that these two do not depend on chance.
#[derive(Clone, Debug)]
pub struct Plan {
    block: Bytes,
    random: Rng,
    longest: usize,
    made: usize,
    count: usize,
}

impl Plan {
    /// `count` messages of zero to `longest` bytes.
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

    /// No messages at all.
    pub fn nothing() -> Self {
        Self::new(0, 0, 0)
    }

    /// Bytes on the wire of all messages that are left, each with a header of `header` bytes.
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

/// A seed, printed so that a failure can be repeated: give it back in the variable `PEERLOOP_SEED`.
pub fn seed() -> u64 {
    let seed = settings::seed().unwrap_or_else(|| fastrand::u64(..));
    println!("PEERLOOP_SEED={seed}");
    seed
}
