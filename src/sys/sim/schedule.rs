//! Virtual time, and the scheduled events.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::event::Event;

/// Rank of each event that is not a turn. Events of one rank keep their order,
/// so the segments of a connection do.
pub(super) const NETWORK: u32 = 1 << 16;

/// The clock of a world, and its future events.
#[derive(Debug)]
pub(super) struct Schedule {
    base: Instant,
    now: Duration,
    serial: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
}

#[derive(Debug)]
pub(super) struct Scheduled {
    pub(super) at: Duration,
    /// Order among events of the same time. Events of the same rank are ordered
    /// by `serial`.
    rank: u32,
    serial: u64,
    pub(super) event: Event,
}

impl Schedule {
    pub(super) fn new() -> Self {
        Self {
            base: Instant::now(),
            now: Duration::ZERO,
            serial: 0,
            queue: BinaryHeap::new(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Returns the beginning of the world on the clocks of nodes.
    pub(super) fn base(&self) -> Instant {
        self.base
    }

    /// Schedules an event for `at`, or for now if `at` is in the past.
    pub(super) fn push(&mut self, at: Duration, rank: u32, event: Event) {
        let serial = self.serial;
        self.serial += 1;
        let at = at.max(self.now);
        self.queue.push(Reverse(Scheduled {
            at,
            rank,
            serial,
            event,
        }));
    }

    /// Takes the next event if it is due by `until`. The clock does not change.
    pub(super) fn pop(&mut self, until: Duration) -> Option<Scheduled> {
        if self.queue.peek()?.0.at > until {
            return None;
        }
        self.queue.pop().map(|Reverse(next)| next)
    }

    /// Sets the clock, which never goes back.
    pub(super) fn advance_to(&mut self, at: Duration) {
        self.now = self.now.max(at);
    }

    /// Returns all future events, in no particular order.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Scheduled> {
        self.queue.iter().map(|Reverse(next)| next)
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |it: &Self| (it.at, it.rank, it.serial);
        key(self).cmp(&key(other))
    }
}
