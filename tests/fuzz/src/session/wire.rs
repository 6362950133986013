//! The bytes on the way from the peer to the node, and their changes.

use crate::input::Input;

#[derive(Default)]
pub(super) struct Tampered {
    /// All bytes that the peer has sent.
    genuine: Vec<u8>,
    /// The bytes that are not passed yet, after the changes.
    pending: Vec<u8>,
    /// The bytes that were passed to the node.
    passed: Vec<u8>,
}

impl Tampered {
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.genuine.extend(bytes);
        self.pending.extend(bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn passed(&self) -> &[u8] {
        &self.passed
    }

    /// Returns whether the passed bytes are the beginning of the genuine bytes.
    pub(super) fn has_passed_genuine(&self) -> bool {
        self.genuine.starts_with(&self.passed)
    }

    /// Returns the number of genuine bytes.
    pub(super) fn genuine_len(&self) -> usize {
        self.genuine.len()
    }

    /// Returns the number of passed bytes before the first change.
    pub(super) fn unchanged_len(&self) -> usize {
        let both = self.genuine.iter().zip(&self.passed);
        both.take_while(|(genuine, passed)| genuine == passed)
            .count()
    }

    /// Returns whether the passed and the pending bytes together are genuine.
    pub(super) fn is_genuine(&self) -> bool {
        self.genuine == [&self.passed[..], &self.pending].concat()
    }

    /// Returns whether the passed bytes are all genuine bytes.
    pub(super) fn has_passed_all(&self) -> bool {
        self.genuine == self.passed
    }

    /// Offers at most `count` bytes to `take`, which returns how many it took.
    pub(super) fn pass(&mut self, count: usize, take: impl FnOnce(&[u8]) -> usize) {
        let offered = &self.pending[..count.min(self.pending.len())];
        let taken = take(offered);
        self.passed.extend(self.pending.drain(..taken));
    }

    /// Makes one change to the pending bytes.
    pub(super) fn tamper(&mut self, input: &mut Input<'_>) {
        let what = input.below(7);
        let at = self.place(input);
        let end = (at + 1 + input.below(64)).min(self.pending.len());
        let part = self.pending.get(at..end).unwrap_or_default().to_vec();
        match what {
            // Flips a bit.
            0 | 1 => {
                if let Some(byte) = self.pending.get_mut(at) {
                    *byte ^= 1 << input.below(8);
                }
            }
            // Removes bytes.
            2 => drop(self.pending.drain(at..end.max(at))),
            // Repeats bytes.
            3 => drop(self.pending.splice(at..at, part)),
            // Reorders bytes.
            4 => {
                let middle = input.below(64).min(part.len());
                self.pending[at..end.max(at)].rotate_left(middle);
            }
            // Inserts earlier bytes again.
            5 => {
                let from = (input.byte() as usize * 256 + input.byte() as usize)
                    % (self.genuine.len() + 1);
                let until = (from + 1 + input.below(256)).min(self.genuine.len());
                let again = self.genuine[from..until].to_vec();
                drop(self.pending.splice(at..at, again));
            }
            _ => {
                let len = 1 + input.below(32);
                let garbage = input.take(len).to_vec();
                drop(self.pending.splice(at..at, garbage));
            }
        }
    }

    fn place(&self, input: &mut Input<'_>) -> usize {
        let place = input.byte() as usize * 256 + input.byte() as usize;
        place % (self.pending.len() + 1)
    }
}
