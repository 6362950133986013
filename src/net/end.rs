//! Closing, in three ways, and the one way to die.

use super::Net;
use crate::error::{ConnectError, DisconnectReason, SessionError};
use crate::id::{ConnId, Side};
use crate::peer::{Ending, Peer, State};
use crate::planted::planted;
use crate::siblings::Verb;

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
        match self.peers.get(conn).map(|peer| peer.inner_state()) {
            Some(State::Connecting | State::Handshaking) => {
                self.fail(conn, ConnectError::Cancelled);
            }
            Some(State::Open) => self.begin_closing(conn, DisconnectReason::Local),
            Some(_) => {}
            None => self.pass_on(conn, Verb::Close),
        }
    }

    /// Ends the sending half: what was queued leaves, then FIN. Messages still arrive until the peer ends its half.
    ///
    /// From this call on sends are refused. Only an established connection has halves; for any other id nothing
    /// happens.
    pub fn shutdown_write(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(conn) else {
            return self.pass_on(conn, Verb::ShutdownWrite);
        };
        if peer.inner_state() == State::Open {
            peer.shut_send();
            self.mark_dirty(conn);
        }
    }

    /// Ends a connection now: what was queued is dropped, and the peer gets a reset (RST).
    ///
    /// From this call on no message of it is delivered. [`Handler::on_disconnect`](crate::Handler::on_disconnect)
    /// follows in this turn or one of the next with [`DisconnectReason::Local`]; for a dial that is not connected yet,
    /// [`Handler::on_connect_failed`](crate::Handler::on_connect_failed) with [`ConnectError::Cancelled`].
    pub fn abort(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(conn) else {
            return self.pass_on(conn, Verb::Abort);
        };
        match peer.inner_state() {
            State::Connecting | State::Handshaking => self.fail(conn, ConnectError::Cancelled),
            State::Open | State::Closing(_) => {
                peer.reset = true;
                self.end(conn, Ending::Disconnected(DisconnectReason::Local));
            }
            State::Ended(_) | State::Gone => {}
        }
    }

    /// Stops delivering a connection's messages, beginning with the next one. The peer is slowed down by TCP once
    /// the kernel's buffers are full; at most one read buffer of what was read already, and the beginning of one more
    /// message, are kept in memory.
    ///
    /// That the peer is gone is noticed all the same once nothing is left to deliver; what is left is delivered after
    /// [`Net::resume`], before the end is reported.
    pub fn pause(&mut self, conn: ConnId) {
        if let Some(peer) = self.peers.get_mut(conn) {
            peer.paused = true;
            self.interrupt(conn);
        } else {
            self.pass_on(conn, Verb::Pause);
        }
    }

    /// Delivers a paused connection's messages again, from where they were left. Nothing is lost in between.
    pub fn resume(&mut self, conn: ConnId) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(conn) else {
            return self.pass_on(conn, Verb::Resume);
        };
        // Deadlines of one that is ending run on.
        if peer.paused && peer.inner_state() == State::Open {
            peer.resume(now);
            self.arm(conn);
            if !planted!(LoseEdgeOnResume) {
                self.revisit(conn);
            }
        }
    }

    /// Stops delivering messages and begins to wait for what is to be sent to leave.
    pub(crate) fn begin_closing(&mut self, conn: ConnId, reason: DisconnectReason) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        if let Some(failure) = peer.failure() {
            // Nothing can leave any more.
            return self.end(conn, Ending::Disconnected(failure));
        }
        let ending = peer.ending(Ending::Disconnected(reason));
        let (before, side, addr) = (peer.inner_state(), peer.side(), peer.addr());
        debug_assert!(matches!(before, State::Handshaking | State::Open));
        peer.begin_closing(ending, now);
        self.left(before, side);
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
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        if matches!(peer.inner_state(), State::Handshaking | State::Open) {
            peer.sealed_off = true;
            self.begin_closing(conn, DisconnectReason::Session(error));
        }
    }

    /// The one way to die. Whoever ends a connection, for whatever reason, comes through here: its limits and its
    /// deadline are released at once, so that it may be dialled again from its last callback; the loop makes that and
    /// closes the socket at the end of the turn.
    pub(crate) fn end(&mut self, conn: ConnId, cause: Ending) {
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        let (before, side, addr) = (peer.inner_state(), peer.side(), peer.addr());
        if matches!(before, State::Ended(_) | State::Gone) {
            return;
        }
        let ending = peer.ending(cause);
        peer.set_state(State::Ended(ending));
        self.left(before, side);
        let mut limits = self.limits.lock();
        if !matches!(before, State::Closing(_)) {
            limits.forget(addr);
        }
        limits.release(addr);
        drop(limits);
        if !planted!(KeepDeadline) {
            self.arm(conn);
        }
        self.interrupt(conn);
        self.work.ended.push(conn);
    }

    /// Both ends of a connection are this node's.
    pub(crate) fn end_self_connection(&mut self, conn: ConnId) {
        if self.peers.get(conn).is_some_and(Peer::is_live) {
            self.metrics.self_connections += 1;
            self.end(conn, Ending::Disconnected(DisconnectReason::SelfConnection));
        }
    }

    /// A connection has left this state for good.
    fn left(&mut self, state: State, side: Side) {
        match state {
            State::Connecting => self.left_connecting(side),
            State::Handshaking => {
                self.metrics.handshakes_failed += 1;
                if planted!(KeepConnecting) {
                    return;
                }
                self.left_connecting(side);
            }
            State::Open => self.connected -= 1,
            State::Closing(_) | State::Ended(_) | State::Gone => {}
        }
    }

    /// Counts an end, and gives back what the connection held. Its slot is kept to the end of the turn.
    pub(crate) fn release(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        if let State::Ended(ending) = peer.inner_state() {
            self.metrics.count_end(ending, peer.side());
        }
        if let Some(siblings) = &self.siblings {
            siblings.ended(conn, peer.side());
        }
        peer.set_state(State::Gone);
        if std::mem::take(&mut peer.starved) {
            self.work.starved.retain(|(starved, _)| *starved != conn);
        }
        self.ended_traffic += std::mem::take(&mut peer.traffic);
        if let Some(queue) = peer.queue.take() {
            self.metrics.note_peak();
            self.metrics.queued -= queue.cost();
            self.metrics.bytes_lost += queue.len() as u64;
            self.spares.put_queue(queue);
        }
    }

    /// The token of a tracked send that was lost with its connection.
    pub(crate) fn pop_lost(&mut self, conn: ConnId) -> Option<u64> {
        let queue = self.peers.get_mut(conn)?.queue.as_mut()?;
        let cost = queue.cost();
        let token = queue.pop_lost();
        self.metrics.note_peak();
        self.metrics.queued -= cost - queue.cost();
        token
    }

    /// Takes back a slot whose connection was lost before anybody heard of it.
    pub(crate) fn discard(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        debug_assert_eq!(peer.inner_state(), State::Connecting);
        peer.set_state(State::Gone);
        let (addr, side) = (peer.addr(), peer.side());
        self.left_connecting(side);
        if let Some(siblings) = &self.siblings {
            siblings.ended(conn, side);
        }
        let mut limits = self.limits.lock();
        limits.forget(addr);
        limits.release(addr);
    }
}
