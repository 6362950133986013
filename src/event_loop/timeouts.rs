//! Timers, and connections that are overdue.

use std::time::Instant;

use super::EventLoop;
use crate::connection::ConnEntry;
use crate::handler::Handler;
use crate::id::{ConnId, TimerId};
use crate::net::Due;

impl<H: Handler> EventLoop<'_, H> {
    pub(super) fn run_deadlines(&mut self) {
        let (now, mark) = (self.net.now, self.net.deadlines.mark());
        while let Some((slot, serial, due)) = self.net.deadlines.pop_due(now, mark) {
            match due {
                Due::Timer(key) => {
                    let timer = TimerId { slot, serial };
                    self.call("on_timer", None, |handler, net| {
                        handler.on_timer(net, timer, key)
                    });
                    self.flush_urgent();
                }
                Due::Connection(conn) => self.look_at(conn, now),
                Due::Listener(index) => self.end_pause(index),
                // The wait is over; the end of the turn does the rest.
                Due::Shutdown => {}
                Due::Retry => self.net.retry(),
            }
        }
        // Only now: a deadline that is over would hide all others from the loop above.
        while let Some(conn) = self.state.overdue_unread.pop() {
            self.net.arm(conn);
        }
    }

    /// Ends a connection that is overdue. Mostly it is not: traffic moves no deadline, so what comes up is looked at
    /// and put back.
    fn look_at(&mut self, conn: ConnId, now: Instant) {
        let Some(entry) = self.net.conns.get_mut(conn) else {
            return;
        };
        entry.set_deadline(None);
        if entry.is_stalled(now) {
            // Linux tells of room only once a third of the socket's buffer is free (tcp_sock.h, sk_stream_is_writeable):
            // who reads slowly may have taken much without an edge, so the socket is asked before it is judged.
            entry.blocked = false;
            self.state.write(self.net, conn);
        }
        let is_unread = self
            .state
            .inbound(conn)
            .is_some_and(|inbound| inbound.queued);
        match self.net.conns.get(conn).and_then(ConnEntry::due) {
            // What it has sent may be waiting for a budget of ours; it is judged when that has been read.
            Some((at, ending)) if at <= now && is_unread && ending.is_for_silence() => {
                self.state.overdue_unread.push(conn);
            }
            Some((at, ending)) if at <= now => self.net.end(conn, ending),
            _ => self.net.arm(conn),
        }
    }
}
