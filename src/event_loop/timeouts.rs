//! Timers and timeouts of connections.

use super::EventLoop;
use crate::connection::{ConnEntry, Ending};
use crate::error::{ConnectError, DisconnectReason, TimeoutKind};
use crate::handler::Handler;
use crate::id::{ConnId, TimerId};
use crate::net::Due;

impl<H: Handler> EventLoop<'_, H> {
    pub(super) fn run_timers(&mut self) {
        let (now, mark) = (self.net.now, self.net.clock.mark);
        let next_due = |due: &Due, at| due.next_due(at, now);
        while let Some((slot, serial, due)) = self.net.timers.pop_due(now, mark, next_due) {
            match due {
                Due::Timer(key) => self.fire_timer(TimerId { slot, serial }, key),
                Due::Interval(interval) => {
                    let serial = interval.serial;
                    self.fire_timer(TimerId { slot, serial }, interval.key);
                }
                Due::ConnTimer(conn, key) => self.fire_conn_timer(conn, key),
                Due::Session(conn) => self.note_session_timeout(conn),
                Due::Connection(conn) => self.check_timeouts(conn),
                Due::Connect(conn) => self.net.start_delayed_connect(conn),
                Due::Tokens(conn, flow) => self.net.end_token_wait(conn, flow),
                Due::Header(conn) => self.net.time_out_header(conn),
                Due::Listener(index) => self.resume_listener(index),
                // `complete_shutdown` handles it at the end of the turn.
                Due::Shutdown => {}
                Due::CommandRetry => self.net.retry_commands(),
            }
        }
        // These deadlines are armed after the loop, because deadlines in the
        // past would be the next ones in it.
        while let Some(conn) = self.state.overdue_unread.pop() {
            self.net.arm_deadline(conn);
        }
    }

    fn fire_timer(&mut self, timer: TimerId, key: u64) {
        self.call("on_timer", None, |handler, net| {
            handler.on_timer(net, timer, key);
        });
    }

    fn fire_conn_timer(&mut self, conn: ConnId, key: u64) {
        let Some(entry) = self.net.conns.get_mut(conn) else {
            return;
        };
        entry.remove_timer(key);
        self.call("on_conn_timer", Some(conn), |handler, net| {
            handler.on_conn_timer(net, conn, key);
        });
    }

    /// Ends a connection if it is overdue. Usually it is not, because traffic
    /// does not move the deadline. Then the deadline is armed again.
    fn check_timeouts(&mut self, conn: ConnId) {
        let now = self.net.timestamp();
        let Some(entry) = self.net.conns.get_mut(conn) else {
            return;
        };
        entry.set_deadline(None, None);
        if entry.is_stalled(now) {
            // Linux reports writability only once a third of the socket's
            // buffer is free (tcp_sock.h, sk_stream_is_writeable). A slow
            // reader may have made room without an edge, so a write is tried
            // before the connection is ended.
            entry.blocked = false;
            self.state.write(self.net, conn);
        }
        match self.net.conns.get(conn).and_then(ConnEntry::due) {
            Some((at, ending)) if at <= now => {
                if self.may_be_unread(conn, ending) {
                    // The connection is checked again after its next visit.
                    self.state.overdue_unread.push(conn);
                } else if self.is_held_back(conn, ending) {
                    if let Some(entry) = self.net.conns.get_mut(conn) {
                        entry.note_held_back(now);
                    }
                    self.net.arm_deadline(conn);
                } else {
                    self.net.end_connection(conn, ending);
                }
            }
            _ => {
                self.net.send_ping_if_due(conn, now);
                self.net.arm_deadline(conn);
            }
        }
    }

    /// Returns whether a peer is not silent, because this node does not read
    /// its bytes at present: the answers of the session are not written yet.
    fn is_held_back(&mut self, conn: ConnId, ending: Ending) -> bool {
        let reason = DisconnectReason::Timeout(TimeoutKind::ReceiveIdle);
        let half = self.state.inbound(conn);
        ending == Ending::Disconnected(reason) && half.is_some_and(|half| half.readable)
    }

    /// Returns whether the input of an overdue connection may be waiting in the
    /// socket, because this node has not had the time to visit it.
    ///
    /// A handshake is left on its list only once: if a whole turn had no time
    /// for it, there are more handshakes than this node can handle.
    fn may_be_unread(&mut self, conn: ConnId, ending: Ending) -> bool {
        let Some(half) = self.state.inbound(conn).filter(|half| half.scheduled) else {
            return false;
        };
        match ending {
            Ending::Failed(ConnectError::HandshakeTimedOut) => {
                !std::mem::replace(&mut half.was_overdue, true)
            }
            _ => ending.is_for_silence(),
        }
    }
}
