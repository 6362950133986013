//! Counts that unit tests compare with bounds.

#[cfg(test)]
use std::cell::Cell;

/// A count of the thread.
#[derive(Clone, Copy)]
pub(crate) enum Count {
    /// Readings of the clock.
    ClockReads,
    /// Bytes copied between the socket and the handler.
    CopiedBytes,
    /// Guarded calls of code of the program.
    GuardedCalls,
    /// Locks of the limits.
    LimitLocks,
    /// Lookups in a table of connections.
    Lookups,
}

#[cfg(test)]
thread_local! {
    static COUNTS: [Cell<usize>; 5] = const { [const { Cell::new(0) }; 5] };
}

impl Count {
    /// Adds to the count in unit tests, and is a no-op otherwise.
    #[inline(always)]
    pub(crate) fn add(self, more: usize) {
        #[cfg(test)]
        COUNTS.with(|counts| counts[self as usize].set(counts[self as usize].get() + more));
        #[cfg(not(test))]
        let _ = more;
    }

    /// Returns the count, and sets it to zero.
    #[cfg(test)]
    pub(crate) fn take(self) -> usize {
        COUNTS.with(|counts| counts[self as usize].replace(0))
    }
}
