//! The members of a group that another thread woke.

use std::sync::{Arc, Mutex, PoisonError};

/// Shared by the wakers of a group's members. A poll has one waker only, so the
/// member that is meant is written down here.
#[derive(Clone, Debug, Default)]
pub(crate) struct WakeList(Arc<Mutex<Vec<usize>>>);

impl WakeList {
    pub(super) fn push(&self, member: usize) {
        self.members().push(member);
    }

    /// Moves the members that were woken to `into`.
    pub(crate) fn take_into(&self, into: &mut Vec<usize>) {
        into.append(&mut self.members());
    }

    /// Whether a member was called since the last answer. The group's wake
    /// alone does not tell: with poll(2) it can be lost, as `Inbox::has_work`
    /// says.
    pub(crate) fn has_entries(&self) -> bool {
        !self.members().is_empty()
    }

    fn members(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        // Nothing can panic while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
