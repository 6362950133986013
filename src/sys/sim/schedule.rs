//! Virtual time, and what is scheduled.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::event::Event;

/// The rank of every event that is not a turn, so that what a connection sends
/// stays in order.
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
    /// Orders events of the same time. Events of the same rank are ordered by
    /// `serial`.
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

    /// The beginning of the world on the clocks of nodes.
    pub(super) fn base(&self) -> Instant {
        self.base
    }

    /// Schedules an event, at `now` at the earliest.
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

    /// Takes the next event, if it is due at `until` at the latest. The clock
    /// stays where it is.
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

    /// All future events, in no order.
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
