//! Timers of the program and deadlines of the loop.

use std::time::{Duration, Instant};

use super::Net;
use crate::id::{ConnId, TimerId};

/// An entry of the timer heap.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// A timer with this key.
    Timer(u64),
    Interval(Interval),
    /// A timer of a connection, with this key.
    ConnTimer(ConnId, u64),
    /// The timeouts of a connection are to be checked.
    Connection(ConnId),
    /// A delayed connect begins.
    Connect(ConnId),
    /// The pause of a listener ends.
    Listener(usize),
    Shutdown,
    /// Commands that full queues refused are passed again.
    CommandRetry,
}

/// A periodic timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub(crate) key: u64,
    /// The serial of its [`TimerId`], which it keeps when it moves.
    pub(crate) serial: u64,
    period: Duration,
}

impl Due {
    /// Returns when it is due again, if it was due at `at` and fires now.
    pub(crate) fn next_due(&self, at: Instant, now: Instant) -> Option<Instant> {
        let Self::Interval(interval) = self else {
            return None;
        };
        // Missed ticks are skipped, and the phase is kept.
        //
        //   at      +period     now   +period
        //   ├──────────┼─────────┼───────┤ next
        let late = now.saturating_duration_since(at);
        let period = interval.period.as_nanos().max(1);
        let ticks = late.as_nanos() / period + 1;
        let ahead = u64::try_from(ticks.saturating_mul(period)).unwrap_or(u64::MAX);
        at.checked_add(Duration::from_nanos(ahead))
    }
}

impl Net {
    /// Returns the time at which this turn began. All callbacks of a turn see
    /// the same.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Calls [`Handler::on_timer`](crate::Handler::on_timer) with `key` once,
    /// after this duration.
    ///
    /// The duration counts from the end of this turn, because a callback may
    /// take long; between turns it counts from now. The timer is never early,
    /// and late by no more than a turn and the millisecond to which the poller
    /// rounds up. A duration of zero means the next turn. Timers of equal time
    /// fire in the order in which they were set. Their number is limited by
    /// memory, some 60 bytes each.
    ///
    /// A timer belongs to no connection; see [`Net::set_conn_timer`] for timers
    /// of connections.
    pub fn set_timer(&mut self, after: Duration, key: u64) -> TimerId {
        let (slot, serial) = self.arm_after(after, |_| Due::Timer(key));
        TimerId { slot, serial }
    }

    /// Calls [`Handler::on_timer`](crate::Handler::on_timer) with `key` once,
    /// at this instant. One in the past means the next turn. See
    /// [`Net::set_timer`].
    pub fn set_timer_at(&mut self, at: Instant, key: u64) -> TimerId {
        // An earlier time would be the first of all in this turn and the next,
        // before timers that are due.
        let at = at.max(self.now);
        let (slot, serial) = self.timers.insert(at, Due::Timer(key));
        TimerId { slot, serial }
    }

    /// Calls [`Handler::on_timer`](crate::Handler::on_timer) with `key` again
    /// and again, the first time after one period, until it is cancelled.
    ///
    /// Missed ticks are skipped and the phase is kept: the n-th call is never
    /// before n periods. There is one call per turn at most. A period of zero
    /// means every turn, and keeps the loop from sleeping.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use peerloop::{ConnId, Handler, Net, TimerId};
    /// # struct Server;
    /// impl Handler for Server {
    ///     fn on_start(&mut self, net: &mut Net) {
    ///         net.set_interval(Duration::from_secs(10), 0);
    ///     }
    ///
    ///     fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
    ///         let _ = net.broadcast_all("ping", None);
    ///     }
    /// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    /// ```
    pub fn set_interval(&mut self, period: Duration, key: u64) -> TimerId {
        let interval = |serial| {
            Due::Interval(Interval {
                key,
                serial,
                period,
            })
        };
        let (slot, serial) = self.arm_after(period, interval);
        TimerId { slot, serial }
    }

    /// Cancels a timer or an interval and returns its key. `None` if it has
    /// fired, or was cancelled. After this call it does not fire, even if it is
    /// overdue.
    pub fn cancel_timer(&mut self, timer: TimerId) -> Option<u64> {
        let key = match *self.timers.get(timer.slot)? {
            Due::Timer(key) if self.timers.is_serial(timer.slot, timer.serial) => key,
            Due::Interval(interval) if interval.serial == timer.serial => interval.key,
            _ => return None,
        };
        self.timers.remove(timer.slot);
        Some(key)
    }

    /// Calls [`Handler::on_conn_timer`](crate::Handler::on_conn_timer) with
    /// `conn` and `key` once, `after` this time.
    ///
    /// A connection has one timer for each key: setting it again moves it. It
    /// does not fire after the end of its connection. See [`Net::set_timer`]
    /// for when it fires.
    ///
    /// Returns false if the id is stale or of another [shard](crate::shards);
    /// then no timer is set.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use peerloop::{ConnId, Handler, Net};
    /// # struct Server;
    /// impl Handler for Server {
    ///     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
    ///         net.set_conn_timer(conn, Duration::from_secs(10), 0);
    ///     }
    ///
    ///     fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, _: u64) {
    ///         let _ = net.send_and_close(conn, "your time is up");
    ///     }
    /// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    /// ```
    pub fn set_conn_timer(&mut self, conn: ConnId, after: Duration, key: u64) -> bool {
        let Some(entry) = self.conns.get(conn).filter(|entry| entry.is_live()) else {
            return false;
        };
        if let Some(slot) = entry.timer(key) {
            self.rearm_after(slot, after);
            return true;
        }
        let (slot, _) = self.arm_after(after, |_| Due::ConnTimer(conn, key));
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.add_timer(key, slot);
        }
        true
    }

    /// Cancels a timer of a connection. Returns whether it was set.
    pub fn cancel_conn_timer(&mut self, conn: ConnId, key: u64) -> bool {
        let entry = self.conns.get_mut(conn);
        let Some(slot) = entry.and_then(|entry| entry.remove_timer(key)) else {
            return false;
        };
        self.timers.remove(slot);
        true
    }

    /// Cancels all timers of a connection that has ended.
    pub(super) fn cancel_conn_timers(&mut self, conn: ConnId) {
        let entry = self.conns.get_mut(conn);
        for slot in entry.into_iter().flat_map(|entry| entry.take_timers()) {
            self.timers.remove(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_are_skipped_and_the_phase_is_kept() {
        let ms = Duration::from_millis;
        let at = Instant::now();
        let interval = |period| {
            Due::Interval(Interval {
                key: 0,
                serial: 0,
                period,
            })
        };
        let next = |late| interval(ms(10)).next_due(at, at + late);
        assert_eq!(next(ms(0)), Some(at + ms(10)));
        assert_eq!(next(ms(9)), Some(at + ms(10)));
        assert_eq!(next(ms(10)), Some(at + ms(20)));
        assert_eq!(next(ms(35)), Some(at + ms(40)));
        let zero = interval(Duration::ZERO).next_due(at, at + ms(5));
        assert!(
            zero.is_some_and(|next| next > at + ms(5)),
            "no tick is doubled"
        );
        assert_eq!(Due::Timer(0).next_due(at, at), None);
    }
}
