//! Closing, in three ways, and the one way to die.

use super::Net;
use crate::connection::{ConnEntry, Ending, Lifecycle};
use crate::cross_shard::ConnCommand;
use crate::error::{ConnectError, DisconnectReason, SessionError};
use crate::id::{ConnId, Direction};
use crate::mutants::mutant;

impl Net {
    /// Closes a connection gracefully.
    ///
    /// From this call on no message of it is delivered, not even one already read, and sends are refused. What was
    /// queued leaves, then FIN; then the peer's own end is awaited, while what still arrives is thrown away. At the
    /// end, or after [`Timeouts::linger`](crate::Timeouts::linger) at the latest,
    /// [`Handler::on_disconnect`](crate::Handler::on_disconnect) is called, with
    /// [`DisconnectReason::Local`] if everything had left.
    ///
    /// A dial that is not connected yet is given up with [`ConnectError::Cancelled`]. A stale id is none to close.
    pub fn close(&mut self, conn: ConnId) {
        match self.conns.get(conn).map(|entry| entry.lifecycle()) {
            Some(Lifecycle::Connecting | Lifecycle::Handshaking) => {
                self.fail(conn, ConnectError::Cancelled);
            }
            Some(Lifecycle::Open) => self.begin_closing(conn, DisconnectReason::Local),
            Some(_) => {}
            None => self.forward(conn, ConnCommand::Close),
        }
    }

    /// Ends the sending half: what was queued leaves, then FIN. Messages still arrive until the peer ends its half.
    ///
    /// From this call on sends are refused. Only an established connection has halves; for any other id nothing
    /// happens.
    pub fn shutdown_write(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return self.forward(conn, ConnCommand::ShutdownWrite);
        };
        if entry.lifecycle() == Lifecycle::Open {
            entry.shut_send();
            self.mark_dirty(conn);
        }
    }

    /// Ends a connection now: what was queued is dropped, and the peer gets a reset (RST).
    ///
    /// From this call on no message of it is delivered. [`Handler::on_disconnect`](crate::Handler::on_disconnect)
    /// follows in this turn or one of the next with [`DisconnectReason::Local`]; for a dial that is not connected yet,
    /// [`Handler::on_connect_failed`](crate::Handler::on_connect_failed) with [`ConnectError::Cancelled`].
    pub fn abort(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return self.forward(conn, ConnCommand::Abort);
        };
        match entry.lifecycle() {
            Lifecycle::Connecting | Lifecycle::Handshaking => {
                self.fail(conn, ConnectError::Cancelled)
            }
            Lifecycle::Open | Lifecycle::Closing(_) => {
                entry.reset = true;
                self.end(conn, Ending::Disconnected(DisconnectReason::Local));
            }
            Lifecycle::Ended(_) | Lifecycle::Released => {}
        }
    }

    /// Stops delivering a connection's messages, beginning with the next one. The peer is slowed down by TCP once
    /// the kernel's buffers are full; at most one read buffer of what was read already, and the beginning of one more
    /// message, are kept in memory.
    ///
    /// That the peer is gone is noticed all the same once nothing is left to deliver; what is left is delivered after
    /// [`Net::resume`], before the end is reported.
    pub fn pause(&mut self, conn: ConnId) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.paused = true;
            self.interrupt(conn);
        } else {
            self.forward(conn, ConnCommand::Pause);
        }
    }

    /// Delivers a paused connection's messages again, from where they were left. Nothing is lost in between.
    pub fn resume(&mut self, conn: ConnId) {
        let now = self.now;
        let Some(entry) = self.conns.get_mut(conn) else {
            return self.forward(conn, ConnCommand::Resume);
        };
        // Deadlines of one that is ending run on.
        if entry.paused && entry.lifecycle() == Lifecycle::Open {
            entry.resume(now);
            self.arm(conn);
            if !mutant!(LoseEdgeOnResume) {
                self.revisit(conn);
            }
        }
    }

    /// Stops delivering messages and begins to wait for what is to be sent to leave.
    pub(crate) fn begin_closing(&mut self, conn: ConnId, reason: DisconnectReason) {
        let now = self.now;
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        if let Some(failure) = entry.failure() {
            // Nothing can leave any more.
            return self.end(conn, Ending::Disconnected(failure));
        }
        let ending = entry.ending(Ending::Disconnected(reason));
        let (before, direction, addr) = (entry.lifecycle(), entry.direction(), entry.addr());
        debug_assert!(matches!(before, Lifecycle::Handshaking | Lifecycle::Open));
        entry.begin_closing(ending, now);
        self.left(before, direction);
        // The address may be dialled again at once.
        self.limits.lock().forget(addr);
        self.arm(conn);
        self.interrupt(conn);
        self.mark_dirty(conn);
        // What is in the socket is to be thrown away, paused or not, so that the peer's end is seen.
        self.revisit(conn);
    }

    /// The session has failed: what is queued will not leave, what the session had to say about it does.
    pub(crate) fn fail_session(&mut self, conn: ConnId, error: SessionError) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        if matches!(entry.lifecycle(), Lifecycle::Handshaking | Lifecycle::Open) {
            entry.sealing_failed = true;
            self.begin_closing(conn, DisconnectReason::Session(error));
        }
    }

    /// The one way to die. Whoever ends a connection, for whatever reason, comes through here: its limits and its
    /// deadline are released at once, so that it may be dialled again from its last callback; the loop makes that and
    /// closes the socket at the end of the turn.
    pub(crate) fn end(&mut self, conn: ConnId, cause: Ending) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        let (before, direction, addr) = (entry.lifecycle(), entry.direction(), entry.addr());
        if matches!(before, Lifecycle::Ended(_) | Lifecycle::Released) {
            return;
        }
        let ending = entry.ending(cause);
        entry.set_state(Lifecycle::Ended(ending));
        self.left(before, direction);
        let mut limits = self.limits.lock();
        if !matches!(before, Lifecycle::Closing(_)) {
            limits.forget(addr);
        }
        limits.release(addr);
        drop(limits);
        if !mutant!(KeepDeadline) {
            self.arm(conn);
        }
        self.interrupt(conn);
        self.work.ended.push(conn);
    }

    /// Both ends of a connection are this node's.
    pub(crate) fn end_self_connection(&mut self, conn: ConnId) {
        if self.conns.get(conn).is_some_and(ConnEntry::is_live) {
            self.metrics.self_connections += 1;
            self.end(conn, Ending::Disconnected(DisconnectReason::SelfConnection));
        }
    }

    /// A connection has left this state for good.
    fn left(&mut self, state: Lifecycle, direction: Direction) {
        match state {
            Lifecycle::Connecting => self.leave_connecting(direction),
            Lifecycle::Handshaking => {
                self.metrics.handshakes_failed += 1;
                if mutant!(KeepConnecting) {
                    return;
                }
                self.leave_connecting(direction);
            }
            Lifecycle::Open => self.connected -= 1,
            Lifecycle::Closing(_) | Lifecycle::Ended(_) | Lifecycle::Released => {}
        }
    }

    /// Counts an end, and gives back what the connection held. Its slot is kept to the end of the turn.
    pub(crate) fn release(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        if let Lifecycle::Ended(ending) = entry.lifecycle() {
            self.metrics.count_end(ending, entry.direction());
        }
        if let Some(router) = &self.router {
            router.ended(conn, entry.direction());
        }
        entry.set_state(Lifecycle::Released);
        if std::mem::take(&mut entry.waiting_for_quota) {
            self.work
                .waiting_for_quota
                .retain(|(waiting_for_quota, _)| *waiting_for_quota != conn);
        }
        self.ended_traffic += std::mem::take(&mut entry.traffic);
        if let Some(queue) = entry.queue.take() {
            self.metrics.note_peak();
            self.metrics.queued -= queue.cost();
            self.metrics.bytes_lost += queue.len() as u64;
            self.pool.put_queue(queue);
        }
    }

    /// The token of a tracked send that was lost with its connection.
    pub(crate) fn pop_lost(&mut self, conn: ConnId) -> Option<u64> {
        let queue = self.conns.get_mut(conn)?.queue.as_mut()?;
        let cost = queue.cost();
        let token = queue.pop_lost();
        self.metrics.note_peak();
        self.metrics.queued -= cost - queue.cost();
        token
    }

    /// Takes back a slot whose connection was lost before anybody heard of it.
    pub(crate) fn discard(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        debug_assert_eq!(entry.lifecycle(), Lifecycle::Connecting);
        entry.set_state(Lifecycle::Released);
        let (addr, direction) = (entry.addr(), entry.direction());
        self.leave_connecting(direction);
        if let Some(router) = &self.router {
            router.ended(conn, direction);
        }
        let mut limits = self.limits.lock();
        limits.forget(addr);
        limits.release(addr);
    }
}
