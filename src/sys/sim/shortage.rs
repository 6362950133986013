//! A process that runs out of descriptors or memory.

use std::io;
use std::time::Duration;

use super::event::PollerId;
use super::internet::Internet;
use super::poller_state::Shortage;

/// Maximum time that a shortage lasts.
const SHORTAGE_MAX: Duration = Duration::from_secs(3);

impl Internet {
    /// Returns an error while the process lacks a resource, and draws whether a
    /// shortage begins.
    pub(super) fn check_shortage(&mut self, poller: PollerId) -> io::Result<()> {
        let now = self.now();
        if let Some((until, shortage)) = self.pollers[poller].shortage {
            // A shortage ends when the fault is turned off.
            if until > now && self.faults.no_descriptor > 0.0 {
                return Err(shortage.error());
            }
            self.pollers[poller].shortage = None;
        }
        if !self.random.chance(self.faults.no_descriptor) {
            return Ok(());
        }
        self.counts.no_descriptor += 1;
        let time = Duration::from_nanos(self.random.below(SHORTAGE_MAX.as_nanos() as u64));
        let shortage = match self.random.below(3) {
            0 => Shortage::ProcessDescriptors,
            1 => Shortage::SystemDescriptors,
            _ => Shortage::Memory,
        };
        self.pollers[poller].shortage = Some((now + time, shortage));
        Err(shortage.error())
    }
}
