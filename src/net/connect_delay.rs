//! Connects with a delay.

use std::time::Duration;

use super::connect::PendingConnect;
use super::{Due, Net};
use crate::id::ConnId;

/// A connect that has not begun.
#[derive(Debug)]
pub(crate) struct DelayedConnect {
    pending: PendingConnect,
    /// The slot of its timer.
    timer: u32,
}

impl Net {
    /// Schedules a connect, after `delay` or after the delay that the limit of
    /// retries requires.
    pub(super) fn schedule_connect(&mut self, pending: PendingConnect, delay: Option<Duration>) {
        let conn = pending.conn;
        let addr = self.conns.get(conn).map(|entry| entry.addr());
        let delay = match (delay, addr) {
            (Some(delay), _) => delay,
            (None, Some(addr)) => self.limits.lock().retries.charge(addr, self.now),
            (None, None) => Duration::ZERO,
        };
        if delay.is_zero() {
            return self.work.connects.push_back(pending);
        }
        let (timer, _) = self.arm_after(delay, |_| Due::Connect(conn));
        self.delayed_connects
            .insert(conn, DelayedConnect { pending, timer });
        self.disarm_connect_timeout(conn);
    }

    /// Schedules a connect whose delay has passed.
    pub(crate) fn start_delayed_connect(&mut self, conn: ConnId) {
        if let Some(delayed) = self.delayed_connects.remove(&conn) {
            self.work.connects.push_back(delayed.pending);
        }
    }

    /// Drops a connect that has not begun, because its connection has ended.
    pub(super) fn cancel_delayed_connect(&mut self, conn: ConnId) {
        if self.delayed_connects.is_empty() {
            return;
        }
        if let Some(delayed) = self.delayed_connects.remove(&conn) {
            self.timers.remove(delayed.timer);
        }
    }

    /// Returns whether a connect has not begun.
    pub(crate) fn is_delayed(&self, conn: ConnId) -> bool {
        !self.delayed_connects.is_empty() && self.delayed_connects.contains_key(&conn)
    }

    /// Removes the deadline of a connect that has not begun. The start of the
    /// connect arms it.
    fn disarm_connect_timeout(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        if let Some(slot) = entry.deadline() {
            entry.set_deadline(None, None);
            self.timers.remove(slot);
        }
    }
}
