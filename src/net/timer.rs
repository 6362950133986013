//! Timers of the program, and deadlines of the loop.

use std::time::{Duration, Instant};

use super::Net;
use crate::connection::TrafficFlow;
use crate::id::{ConnId, TimerId};

/// An entry of the timer heap.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// A timer of the program, with its key.
    Timer(u64),
    Interval(Interval),
    /// A timer of a connection, with its key.
    ConnTimer(ConnId, u64),
    /// A call of [`Session::on_timeout`](crate::session::Session::on_timeout).
    Session(ConnId),
    /// The next check of the timeouts of a connection.
    Connection(ConnId),
    /// The beginning of a delayed connect.
    Connect(ConnId),
    /// The end of the time for a PROXY header.
    Header(ConnId),
    /// The end of the pause of a listener.
    Listener(usize),
    /// The tokens of a connection that a rate limits.
    Tokens(ConnId, TrafficFlow),
    Shutdown,
    /// The next attempt to pass commands that full queues refused.
    CommandRetry,
}

/// A periodic timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub(crate) key: u64,
    /// The serial of its [`TimerId`]. It does not change when the timer moves.
    pub(crate) serial: u64,
    period: Duration,
}

impl Due {
    /// Returns the next time of a periodic timer that was due at `at` and fires
    /// now. Returns `None` for other timers.
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
    /// Returns the time at which the wait of this turn ended. It is the same in
    /// all callbacks of a turn. Between turns, it is the time of the last call
    /// of [`Node::net`](crate::Node::net).
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Sets a timer that calls [`Handler::on_timer`](crate::Handler::on_timer)
    /// with `key` once, after this duration.
    ///
    /// - Inside a callback, the duration counts from the end of the turn and
    ///   not from [`Net::now`], because callbacks may take long. Between turns
    ///   it counts from now.
    /// - A timer never fires early. It fires late by up to the length of a turn
    ///   plus one millisecond, because the poller rounds timeouts up.
    /// - A duration of zero fires in the next turn.
    /// - Timers with equal times fire in the order in which they were set.
    /// - The number of timers is limited by memory only.
    ///
    /// The timer does not belong to a connection. For a timer that is cancelled
    /// at the end of a connection, use [`Net::set_conn_timer`].
    pub fn set_timer(&mut self, after: Duration, key: u64) -> TimerId {
        let (slot, serial) = self.arm_after(after, |_| Due::Timer(key));
        TimerId { slot, serial }
    }

    /// Sets a timer that calls [`Handler::on_timer`](crate::Handler::on_timer)
    /// with `key` once, at this instant. An instant in the past fires in the
    /// next turn. See [`Net::set_timer`] for its accuracy.
    pub fn set_timer_at(&mut self, at: Instant, key: u64) -> TimerId {
        // A time before `now` would come before timers that are due, in this
        // turn and the next.
        let at = at.max(self.now);
        let (slot, serial) = self.timers.insert(at, Due::Timer(key));
        TimerId { slot, serial }
    }

    /// Sets a timer that calls [`Handler::on_timer`](crate::Handler::on_timer)
    /// with `key` periodically until it is cancelled, the first time after one
    /// period.
    ///
    /// Calls are due at multiples of the period after this call. If the loop is
    /// late, it skips the calls that it missed, and the next one comes at the
    /// next multiple. There is at most one call per turn. A period of zero
    /// calls it in every turn and prevents the loop from sleeping.
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

    /// Cancels a timer or an interval, and returns its key. Returns `None` if
    /// it has fired or was cancelled. After this call it does not fire, even if
    /// it is overdue.
    pub fn cancel_timer(&mut self, timer: TimerId) -> Option<u64> {
        let key = match *self.timers.get(timer.slot)? {
            Due::Timer(key) if self.timers.is_serial(timer.slot, timer.serial) => key,
            Due::Interval(interval) if interval.serial == timer.serial => interval.key,
            _ => return None,
        };
        self.timers.remove(timer.slot);
        Some(key)
    }

    /// Sets a timer that calls
    /// [`Handler::on_conn_timer`](crate::Handler::on_conn_timer) with `conn`
    /// and `key` once, after this duration. Returns whether it was set.
    ///
    /// A connection has one timer for each key. Setting it again moves it. It
    /// is cancelled at the end of the connection. See [`Net::set_timer`] for
    /// its accuracy.
    ///
    /// No timer is set, and false is returned, if the id is stale or belongs to
    /// another [shard](crate::shards).
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

    /// Cancels the timer of a connection with this key. Returns whether it was
    /// set.
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
    fn interval_skips_missed_ticks_and_keeps_phase() {
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
            "no tick comes twice"
        );
        assert_eq!(Due::Timer(0).next_due(at, at), None);
    }
}
