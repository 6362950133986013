//! What is on its way, and what becomes of it there.

use crate::input::Input;

#[derive(Default)]
pub(super) struct Tampered {
    /// All that was said.
    genuine: Vec<u8>,
    /// Said, and maybe not what was said any more.
    pending: Vec<u8>,
    /// What has left.
    passed: Vec<u8>,
}

impl Tampered {
    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.genuine.extend(bytes);
        self.pending.extend(bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn passed(&self) -> &[u8] {
        &self.passed
    }

    /// What has left is the beginning of what was said.
    pub(super) fn has_passed_genuine(&self) -> bool {
        self.genuine.starts_with(&self.passed)
    }

    /// Where what was said so far ends.
    pub(super) fn said_len(&self) -> usize {
        self.genuine.len()
    }

    /// How much has left before the first change.
    pub(super) fn unharmed(&self) -> usize {
        let both = self.genuine.iter().zip(&self.passed);
        both.take_while(|(said, passed)| said == passed).count()
    }

    /// So is what has left together with what is to leave.
    pub(super) fn is_genuine(&self) -> bool {
        self.genuine == [&self.passed[..], &self.pending].concat()
    }

    /// What has left is all that was said.
    pub(super) fn has_passed_all(&self) -> bool {
        self.genuine == self.passed
    }

    /// Offers up to so many bytes to the one who takes them, and says how many
    /// it took.
    pub(super) fn pass(&mut self, count: usize, take: impl FnOnce(&[u8]) -> usize) {
        let offered = &self.pending[..count.min(self.pending.len())];
        let taken = take(offered);
        self.passed.extend(self.pending.drain(..taken));
    }

    /// Does one thing to what is on its way.
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
            // Cuts.
            2 => drop(self.pending.drain(at..end.max(at))),
            // Doubles.
            3 => drop(self.pending.splice(at..at, part)),
            // Puts in another order.
            4 => {
                let middle = input.below(64).min(part.len());
                self.pending[at..end.max(at)].rotate_left(middle);
            }
            // Splices: what was said once, again.
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
