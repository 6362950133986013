//! What connections have in common.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::{HalfOpen, Overflow, Timeouts, check_framing};
use crate::error::ConfigError;
use crate::framing::Framing;

/// What all connections of one origin (the node, a listener, a dial) have in common. Shared, so that a connection
/// pays one pointer for it.
pub(crate) struct Profile {
    /// From which its connections count their time.
    pub(crate) epoch: Instant,
    pub(crate) framing: Framing,
    pub(crate) max_frame: usize,
    pub(crate) timeouts: Timeouts,
    pub(crate) queue_high: usize,
    pub(crate) queue_low: usize,
    pub(crate) queue_max: usize,
    pub(crate) overflow: Overflow,
    pub(crate) half_open: HalfOpen,
}

/// What a listener or a dial has otherwise than its node.
#[derive(Default)]
pub(crate) struct Overrides {
    pub(crate) framing: Option<Framing>,
    pub(crate) max_frame: Option<usize>,
    pub(crate) timeouts: Option<Timeouts>,
    pub(crate) overflow: Option<Overflow>,
    pub(crate) half_open: Option<HalfOpen>,
}

impl Overrides {
    fn is_empty(&self) -> bool {
        let Self {
            framing,
            max_frame,
            timeouts,
            overflow,
            half_open,
        } = self;
        framing.is_none()
            && max_frame.is_none()
            && timeouts.is_none()
            && overflow.is_none()
            && half_open.is_none()
    }
}

impl Profile {
    /// This profile with what a listener or a dial overrides; the same one where nothing is.
    pub(crate) fn with(self: &Arc<Self>, overrides: Overrides) -> Result<Arc<Self>, ConfigError> {
        if overrides.is_empty() {
            return Ok(Arc::clone(self));
        }
        let profile = Self {
            framing: overrides.framing.unwrap_or_else(|| self.framing.clone()),
            max_frame: overrides.max_frame.unwrap_or(self.max_frame),
            timeouts: overrides.timeouts.unwrap_or(self.timeouts),
            overflow: overrides.overflow.unwrap_or(self.overflow),
            half_open: overrides.half_open.unwrap_or(self.half_open),
            ..**self
        };
        check_framing(&profile.framing, profile.max_frame)?;
        profile.timeouts.validate()?;
        Ok(Arc::new(profile))
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}
