//! The clock of a turn, and the timers and deadlines that are armed at the end
//! of the turn.
//!
//! ```text
//!   poll ends                 turn                     last reading
//!   ├──────────┬─────────────────────────────┬──────────────┤ poll ...
//!   now()      callbacks set timers,          armed: after + here
//!              connections change their state
//! ```
//!
//! The clock is read after the poll, and at the end of the turn if a callback
//! was called since the last reading, which `on_turn` is. It is read before a
//! flush that writes something, and not again after it, unless a callback was
//! called. In between it is read
//!
//! - in a visit after 1, 2, 4, ... 64 messages and then after every 64, and at
//!   the end of a visit with messages since (`net/visit.rs`);
//! - after each read and step of a session;
//! - where a budget of time is checked, if a callback was called since, and
//!   after 64 visits in a row that did not read it.
//!
//! [`Node::run`](crate::Node::run) measures the wait from the last reading.
//! [`Node::run_until`](crate::Node::run_until) reads the clock before and after
//! the condition. `node/clock_tests.rs` counts the readings.
//!
//! Timeouts that begin in a turn count from its end, because a callback may
//! take long. If they counted from the beginning, one could pass before its
//! event is polled.

use std::time::{Duration, Instant};

use super::{Due, Net};
use crate::id::ConnId;
use crate::mutants::mutant;
use crate::time::Timestamp;

/// The clock of a turn.
#[derive(Debug)]
pub(crate) struct TurnClock {
    /// The latest reading.
    latest: Instant,
    /// A callback was called after the latest reading.
    pub(crate) is_stale: bool,
    in_turn: bool,
    /// The lowest serial of timers that were set in this turn. They do not fire
    /// in this turn.
    pub(crate) mark: u64,
    /// Timers to arm at the end of the turn: slot, serial and duration.
    timers: Vec<(u32, u64, Duration)>,
    /// Connections with a deadline to arm at the end of the turn.
    conns: Vec<ConnId>,
}

impl TurnClock {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            latest: now,
            is_stale: false,
            in_turn: false,
            mark: 0,
            timers: Vec::new(),
            conns: Vec::new(),
        }
    }
}

impl TurnClock {
    pub(super) fn is_in_turn(&self) -> bool {
        self.in_turn
    }

    /// Returns the latest reading.
    pub(crate) fn latest(&self) -> Instant {
        self.latest
    }

    /// Records a reading, and returns it.
    pub(super) fn look(&mut self, now: Instant) -> Instant {
        self.is_stale = false;
        self.latest = now;
        now
    }
}

impl Net {
    /// Sets the time between turns.
    pub(crate) fn set_now(&mut self, now: Instant) {
        self.now = self.clock.look(now);
    }

    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.set_now(now);
        self.clock.in_turn = true;
        self.clock.mark = self.timers.mark();
    }

    /// Returns whether a quarter of the time for connections has passed in this
    /// turn.
    pub(crate) fn is_accept_time_over(&mut self) -> bool {
        let most = self.config.budget.max_turn_time / 4;
        self.read_clock().saturating_duration_since(self.now) >= most
    }

    /// Returns the time. Reads the clock if a callback was called since the
    /// last reading.
    #[inline]
    pub(crate) fn read_clock(&mut self) -> Instant {
        if self.clock.is_stale {
            self.clock.look(self.registrar.now());
        }
        self.clock.latest
    }

    /// Returns the latest reading as a timestamp.
    #[inline]
    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp::new(self.clock.latest, self.epoch)
    }

    /// Arms the timers and deadlines that were set during the turn. Returns the
    /// time.
    pub(crate) fn end_turn(&mut self) -> Instant {
        #[allow(unused_mut, reason = "a mutant changes it")]
        let mut end = self.read_clock();
        mutant!(DeadlineFromTurnBeginning => end = self.now; self.clock.latest = end);
        self.clock.in_turn = false;
        let mut timers = std::mem::take(&mut self.clock.timers);
        for (slot, serial, after) in timers.drain(..) {
            self.timers.postpone(slot, serial, later(end, after));
        }
        self.clock.timers = timers;
        if let Some(stopping) = &mut self.stopping {
            if let Some(grace) = stopping.unarmed.take() {
                let by = later(end, grace);
                stopping.by = stopping.earlier.map_or(by, |earlier| earlier.min(by));
            }
        }
        let mut conns = std::mem::take(&mut self.clock.conns);
        for conn in conns.drain(..) {
            self.begin_timeouts(conn);
        }
        self.clock.conns = conns;
        end
    }

    /// Inserts a timer that counts from the end of this turn.
    pub(super) fn arm_after(
        &mut self,
        after: Duration,
        due: impl FnOnce(u64) -> Due,
    ) -> (u32, u64) {
        let at = later(self.now, after);
        let (slot, serial) = self.timers.insert_with(at, due);
        self.count_from_end(slot, serial, after);
        (slot, serial)
    }

    /// Moves a timer. It counts from the end of this turn.
    pub(super) fn rearm_after(&mut self, slot: u32, after: Duration) {
        let serial = self.timers.set(slot, later(self.now, after));
        if let Some(serial) = serial {
            self.count_from_end(slot, serial, after);
        }
    }

    fn count_from_end(&mut self, slot: u32, serial: u64, after: Duration) {
        if self.clock.in_turn {
            self.clock.timers.push((slot, serial, after));
        }
    }

    /// Begins the timeouts of the current state of a connection, and begins
    /// them again at the end of this turn.
    pub(crate) fn restart_deadline(&mut self, conn: ConnId) {
        if !self.clock.in_turn {
            return self.begin_timeouts(conn);
        }
        let now = self.timestamp();
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.restart_timeouts(now);
            if !std::mem::replace(&mut entry.is_unarmed, true) {
                self.clock.conns.push(conn);
            }
        }
    }

    fn begin_timeouts(&mut self, conn: ConnId) {
        let (now, is_delayed) = (self.timestamp(), self.is_delayed(conn));
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.is_unarmed = false;
            entry.restart_timeouts(now);
            // The connect timeout begins with the connect.
            if !is_delayed {
                self.arm_deadline(conn);
            }
        }
    }

    /// Sets, moves or removes the timer of a connection, as its state requires.
    ///
    /// Traffic calls this only if a timeout has begun that needs an earlier
    /// deadline. Usually an armed deadline is early enough. When it fires, it
    /// finds that the connection is not overdue.
    pub(crate) fn arm_deadline(&mut self, conn: ConnId) {
        let (now, epoch) = (self.timestamp(), self.epoch);
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        let due = if entry.is_live() {
            entry.next_check(now)
        } else {
            None
        };
        // The deadline is never in the past. A past deadline would come before
        // all others that are due. A deadline that is set within a turn waits
        // for the next turn.
        let at = due.map(|at| at.max(now));
        let slot = match (entry.deadline(), at) {
            (Some(slot), Some(at)) => {
                self.timers.set(slot, at.instant(epoch));
                Some(slot)
            }
            (Some(slot), None) => {
                self.timers.remove(slot);
                None
            }
            (None, Some(at)) => {
                let (slot, _) = self.timers.insert(at.instant(epoch), Due::Connection(conn));
                Some(slot)
            }
            (None, None) => None,
        };
        entry.set_deadline(slot, at);
    }
}

/// Returns a time plus a duration, or a time a century later on overflow.
pub(super) fn later(from: Instant, after: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    from.checked_add(after).unwrap_or_else(|| from + CENTURY)
}
