//! Calls of sessions that no byte of the peer causes: timeouts and wakes.
//!
//! They are made in visits, so that the budgets of visits and handshakes apply.

use super::inbound::half_of;
use super::session::unseal;
use super::{EventLoop, InboundHalf, LoopState};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::session::Stage;

impl<H: Handler> EventLoop<'_, H> {
    /// Schedules a visit to a connection whose session has timed out.
    pub(super) fn note_session_timeout(&mut self, conn: ConnId) {
        if let Some(entry) = self.net.conns.get_mut(conn) {
            entry.set_session_timer(None);
        }
        let LoopState { inbound, lists, .. } = &mut *self.state;
        let Some(half) = half_of(inbound, conn) else {
            return;
        };
        let Some(channel) = &mut half.channel else {
            return;
        };
        if channel.note_timeout() {
            lists.schedule_event(half);
        } else if let Some(timeout) = channel.take_timer_change() {
            self.net.set_session_timer(conn, timeout);
        }
    }

    /// Schedules visits to the connections whose sessions are to be woken.
    pub(super) fn schedule_wakes(&mut self) {
        while let Some(conn) = self.net.work.wakes.pop() {
            if let Some(entry) = self.net.conns.get_mut(conn) {
                entry.is_woken = false;
            }
            let LoopState { inbound, lists, .. } = &mut *self.state;
            let Some(half) = half_of(inbound, conn) else {
                continue;
            };
            if let Some(channel) = &mut half.channel {
                channel.note_wake();
                lists.schedule_event(half);
            }
        }
    }

    /// Continues with the session of a connection that is being visited, before
    /// its socket is read.
    pub(super) fn resume_session(&mut self, half: &mut InboundHalf) {
        let Some(channel) = &half.channel else {
            return;
        };
        if channel.has_due_call() {
            self.make_due_calls(half);
        }
        self.apply_session_end(half);
    }

    #[cold]
    fn make_due_calls(&mut self, half: &mut InboundHalf) {
        let is_called = self.is_handshaking(half.id) || self.is_open(half.id);
        let Some(channel) = half.channel.as_mut().filter(|_| is_called) else {
            return;
        };
        let mut plaintext = self.buffer.take_plaintext();
        // The channel stores the error, and the step below handles it.
        let _ = channel.make_due_calls(&mut plaintext);
        if channel.stage() == Stage::Transparent {
            // The bytes after the handshake are plaintext.
            plaintext.extend_from_slice(channel.wire.as_slice());
        } else if !channel.wire.is_empty() {
            // The session may have waited for this call to take them.
            unseal(half, self.buffer, 0, &mut plaintext);
        }
        // The call counts as a step of the handshake.
        half.has_received = true;
        self.apply_session_step(half, &plaintext);
        self.buffer.put_plaintext(plaintext);
        self.net.clock.is_stale = true;
        self.net.look_at_visit();
    }
}
