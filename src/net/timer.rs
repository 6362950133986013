//! Timers, and everything else that is due at some instant.

use std::time::{Duration, Instant};

use super::Net;
use crate::id::{ConnId, TimerId};

/// Whose deadline it is.
#[derive(Debug)]
pub(crate) enum Due {
    Timer(u64),
    Connection(ConnId),
    Listener(usize),
    Shutdown,
    /// What other shards were too full for is passed on again.
    Retry,
}

impl Net {
    /// Calls [`Handler::on_timer`](crate::Handler::on_timer) with `key`, once, `after` this time: never earlier, and
    /// later by no more than a turn and the millisecond that the poller rounds up.
    ///
    /// The time counts from [`Net::now`]. A time of zero means the next turn. Timers of equal time fire in the order
    /// in which they were set. There is no limit to their number but memory, some 60 bytes each.
    ///
    /// A timer belongs to no connection. One for a connection has its id as the key, and a stale id is an ordinary miss:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use peerloop::{ConnId, Handler, Net, TimerId};
    /// # struct Polite;
    /// impl Handler for Polite {
    ///     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
    ///         net.set_timer(Duration::from_secs(10), conn.to_bits());
    ///     }
    ///
    ///     fn on_timer(&mut self, net: &mut Net, _: TimerId, key: u64) {
    ///         if let Some(conn) = ConnId::from_bits(key) {
    ///             let _ = net.send(conn, b"your time is up");
    ///             net.close(conn);
    ///         }
    ///     }
    /// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    /// ```
    pub fn set_timer(&mut self, after: Duration, key: u64) -> TimerId {
        let (slot, serial) = self.deadlines.insert(self.later(after), Due::Timer(key));
        TimerId { slot, serial }
    }

    /// Cancels a timer that has not fired, and gives its key back; `None` if it has fired or was cancelled. After
    /// this call it does not fire, even if it is overdue.
    pub fn cancel_timer(&mut self, timer: TimerId) -> Option<u64> {
        match self.deadlines.remove_exactly(timer.slot, timer.serial) {
            Some(Due::Timer(key)) => Some(key),
            _ => None,
        }
    }

    /// The time, read once per turn: the same for all callbacks of a turn.
    pub fn now(&self) -> Instant {
        self.now
    }
}
