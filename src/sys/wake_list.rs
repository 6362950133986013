//! Which members of a group another thread has called.

use std::sync::{Arc, Mutex, PoisonError};

/// Shared by the wakers of a group's members, each of which rings at most once until it is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct WakeList(Arc<Mutex<Vec<usize>>>);

impl WakeList {
    pub(super) fn ring(&self, member: usize) {
        self.members().push(member);
    }

    /// Moves those who were called to `into`.
    pub(crate) fn answer(&self, into: &mut Vec<usize>) {
        into.append(&mut self.members());
    }

    fn members(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        // Nothing can panic while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
