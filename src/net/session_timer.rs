//! Timers and wakes of sessions.

use std::time::Duration;

use super::{Due, Net};
use crate::connection::Lifecycle;
use crate::cross_shard::ConnCommand;
use crate::id::ConnId;
use crate::mutants::mutant;

impl Net {
    /// Calls [`Session::on_wake`](crate::session::Session::on_wake) of the
    /// session of a connection, in this turn or the next one.
    ///
    /// Use it when something that the session waits for is available, for
    /// instance the result of a lookup on another thread. The module
    /// [`session`](crate::session#a-handshake-that-waits) has an example. The
    /// call comes later if the budget of handshakes is used up.
    ///
    /// Several wakes before the call result in one call. This is a no-op for a
    /// connection without a session, or whose session has become
    /// [`Stage::Transparent`](crate::session::Stage::Transparent), and for a
    /// stale id. A wake of a connection of another [shard](crate::shards) is
    /// passed to that shard.
    pub fn wake_session(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return self.forward_command(conn, ConnCommand::WakeSession);
        };
        mutant!(ForgetWake => return);
        if !std::mem::replace(&mut entry.is_woken, true) {
            self.work.wakes.push(conn);
        }
    }

    /// Sets the timer of a session anew, or cancels it.
    #[cold]
    pub(crate) fn set_session_timer(&mut self, conn: ConnId, timeout: Option<Duration>) {
        let Some(entry) = self.conns.get(conn) else {
            return;
        };
        let is_called = matches!(entry.lifecycle(), Lifecycle::Handshaking | Lifecycle::Open);
        let timeout = timeout.filter(|_| is_called);
        let slot = match (entry.session_timer(), timeout) {
            (Some(slot), Some(after)) => {
                mutant!(KeepSessionTimer => return);
                self.rearm_after(slot, after);
                Some(slot)
            }
            (Some(slot), None) => {
                self.timers.remove(slot);
                None
            }
            (None, Some(after)) => Some(self.arm_after(after, |_| Due::Session(conn)).0),
            (None, None) => return,
        };
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.set_session_timer(slot);
        }
    }
}
