//! The send limit of a loop.

use crate::buffers::overhead_max;
use crate::metrics::Metrics;
use crate::mutants::mutant;

/// The bytes that all send queues of a loop hold together, with what it costs to
/// keep them, and their limit.
#[derive(Debug)]
pub(crate) struct SendQuota {
    used: usize,
    max_used: usize,
    limit: usize,
}

impl SendQuota {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            used: 0,
            max_used: 0,
            limit,
        }
    }

    #[cfg(feature = "sim")]
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Returns whether the queues may hold `need` more bytes and the cost of
    /// keeping them. An empty loop takes any message, so that every legal message
    /// can be sent.
    #[inline]
    pub(crate) fn has_room(&self, need: usize) -> bool {
        mutant!(ExceedLoopMaximum => return true);
        self.used == 0 || self.used + need + overhead_max(need) <= self.limit
    }

    /// Returns whether `need` bytes fit that are added to memory a queue has.
    #[inline]
    pub(crate) fn fits(&self, need: usize) -> bool {
        self.used + need <= self.limit
    }

    /// Returns whether half of the limit is free.
    pub(crate) fn is_half_free(&self) -> bool {
        self.used <= self.limit / 2
    }

    #[inline]
    pub(crate) fn take(&mut self, bytes: usize) {
        self.used += bytes;
    }

    /// Gives bytes back. The maximum is noted here, because `used` rises only
    /// between two calls.
    #[inline]
    pub(crate) fn release(&mut self, bytes: usize) {
        self.max_used = self.max_used.max(self.used);
        self.used -= bytes;
    }

    pub(crate) fn report(&self, metrics: &mut Metrics) {
        metrics.queued_bytes = self.used;
        metrics.max_queued_bytes = self.max_used.max(self.used);
    }
}
