//! What did not come about.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// What was waited for did not come about within its bound. Shown, it says what every node was doing.
#[derive(Clone, PartialEq, Eq)]
pub struct Stuck {
    pub(super) seed: u64,
    pub(super) at: Duration,
    /// Nothing at all would have happened any more.
    pub(super) is_quiet: bool,
    pub(super) report: String,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, at, .. } = self;
        write!(f, "not within {at:?} of virtual time, with the seed {seed}")?;
        if self.is_quiet {
            f.write_str("; nothing was going to happen any more")?;
        }
        write!(f, "\n{}", self.report)
    }
}

/// As shown: this is what an `expect` prints.
impl fmt::Debug for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Stuck {}
