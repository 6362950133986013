//! The members of a group that another thread woke.

use std::sync::{Arc, Mutex, PoisonError};

/// Shared by the wakers of a group's members. It lists the members to wake,
/// because a poll has only one waker.
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

    /// Returns whether a member was woken since the last call of
    /// [`WakeList::take_into`]. The event of the waker is not enough, because
    /// with poll(2) it can be lost; see `Inbox::has_work`.
    pub(crate) fn has_entries(&self) -> bool {
        !self.members().is_empty()
    }

    fn members(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        // No code panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
