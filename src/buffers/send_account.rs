//! The account of the memory that a loop holds for sending.

/// The number of bytes that all send queues and sessions of a loop hold for
/// sending, and its maximum so far.
///
/// Each piece of memory is charged when it is taken and discharged when it is
/// returned, so the account is the sum of what is held.
#[derive(Debug, Default)]
pub(crate) struct SendAccount {
    used: usize,
    max_used: usize,
}

impl SendAccount {
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn max_used(&self) -> usize {
        self.max_used
    }

    #[inline]
    pub(crate) fn charge(&mut self, bytes: usize) {
        self.used += bytes;
        self.max_used = self.max_used.max(self.used);
    }

    #[inline]
    pub(crate) fn discharge(&mut self, bytes: usize) {
        debug_assert!(self.used >= bytes);
        self.used = self.used.saturating_sub(bytes);
    }
}
