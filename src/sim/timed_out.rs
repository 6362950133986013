//! The error of a run that takes too long.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Error of [`World::run_until`](super::World::run_until): the condition did
/// not hold within the bound. The text contains the seed and describes each
/// node.
#[derive(Clone, PartialEq, Eq)]
pub struct TimedOut {
    pub(super) seed: u64,
    pub(super) at: Duration,
    /// No event was scheduled any more.
    pub(super) is_quiet: bool,
    pub(super) report: String,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, at, .. } = self;
        write!(
            f,
            "timed out after {at:?} of virtual time, with the seed {seed}"
        )?;
        if self.is_quiet {
            f.write_str("; no event was scheduled any more")?;
        }
        write!(f, "\n{}", self.report)
    }
}

/// The same as `Display`, because `expect` prints this.
impl fmt::Debug for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for TimedOut {}
