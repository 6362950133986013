//! A process that is out of descriptors or memory.

use std::io;
use std::time::Duration;

use super::internet::Internet;

/// How long a process has no descriptor or memory, at most.
const EXHAUSTED_MAX: Duration = Duration::from_secs(3);

/// What a process is out of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Want {
    /// EMFILE
    Process,
    /// ENFILE
    System,
    /// ENOMEM
    Memory,
}

impl Want {
    fn error(self) -> io::Error {
        match self {
            Self::Process => io::Error::from_raw_os_error(24),
            Self::System => io::Error::from_raw_os_error(23),
            Self::Memory => io::ErrorKind::OutOfMemory.into(),
        }
    }
}

impl Internet {
    pub(super) fn check_exhausted(&mut self, poller: usize) -> io::Result<()> {
        if let Some((until, want)) = self.pollers[poller].exhausted {
            // Where nothing unusual happens any more, there is enough of everything.
            if until > self.now && self.faults.no_descriptor > 0.0 {
                return Err(want.error());
            }
            self.pollers[poller].exhausted = None;
        }
        if !self.random.chance(self.faults.no_descriptor) {
            return Ok(());
        }
        self.happened.no_descriptor += 1;
        let time = Duration::from_nanos(self.random.below(EXHAUSTED_MAX.as_nanos() as u64));
        let want = match self.random.below(3) {
            0 => Want::Process,
            1 => Want::System,
            _ => Want::Memory,
        };
        self.pollers[poller].exhausted = Some((self.now + time, want));
        Err(want.error())
    }
}
