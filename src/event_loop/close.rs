//! The last callback of a connection. `net/close.rs` has the states and the
//! release of resources.

use super::EventLoop;
use crate::connection::{ConnEntry, Ending, Lifecycle};
use crate::handler::{Handler, SendOutcome};
use crate::id::ConnId;
use crate::mutants::mutant;

impl<H: Handler> EventLoop<'_, H> {
    /// Makes the last callback of each connection that has ended, and releases
    /// its resources.
    pub(super) fn report_ends(&mut self) {
        for _ in 0..self.net.work.ended.len() {
            let Some(conn) = self.net.work.ended.pop_front() else {
                break;
            };
            self.report_tracked_sends(conn);
            self.report_end(conn);
            if !self.net.waiters.is_empty() {
                self.answer_waiters(conn);
            }
            self.release(conn);
        }
    }

    /// Reports the outcome of the tracked sends of a connection that has ended.
    /// Those of other connections that were written are reported as well, so
    /// that no end searches the list.
    fn report_tracked_sends(&mut self, conn: ConnId) {
        self.report_sends();
        while let Some(token) = self.net.pop_lost_token(conn) {
            self.report_send(conn, token, SendOutcome::Lost);
        }
    }

    /// Reports the tracked sends that were written.
    pub(super) fn report_sends(&mut self) {
        for _ in 0..self.state.lists.sent.len() {
            let Some((conn, token)) = self.state.lists.sent.pop_front() else {
                break;
            };
            let outcome = SendOutcome::HandedOver;
            self.report_send(conn, token, outcome);
            mutant!(AnswerTwice => self.report_send(conn, token, outcome));
        }
    }

    fn report_send(&mut self, conn: ConnId, token: u64, outcome: SendOutcome) {
        self.call("on_sent", Some(conn), |handler, net| {
            handler.on_sent(net, conn, token, outcome)
        });
    }

    fn report_end(&mut self, conn: ConnId) {
        let Some(entry) = self.net.conns.get(conn) else {
            return;
        };
        let (info, name) = (entry.info(), &self.net.config.name);
        let addr = info.addr;
        match entry.lifecycle() {
            Lifecycle::Ended(Ending::Failed(error)) => {
                log::debug!(target: "peerloop", "{name}: {conn}: {addr} not connected: {error}");
                self.call("on_connect_failed", None, |handler, net| {
                    handler.on_connect_failed(net, conn, &info, error);
                });
            }
            Lifecycle::Ended(Ending::Disconnected(reason)) => {
                log::debug!(target: "peerloop", "{name}: {conn}: {addr} disconnected: {reason}");
                self.call("on_disconnect", None, |handler, net| {
                    handler.on_disconnect(net, conn, reason);
                });
            }
            Lifecycle::Connecting
            | Lifecycle::Handshaking
            | Lifecycle::Open
            | Lifecycle::Closing(_)
            | Lifecycle::Released => {}
        }
    }

    /// Answers the threads that wait for a connection that has ended.
    #[cold]
    fn answer_waiters(&mut self, conn: ConnId) {
        let lifecycle = self.net.conns.get(conn).map(ConnEntry::lifecycle);
        if let Some(Lifecycle::Ended(Ending::Failed(error))) = lifecycle {
            self.net.answer_connect(conn, Err(error));
        }
        self.net.retry_waiting_sends(conn);
    }

    /// Closes the socket and releases the resources of a connection. The slot
    /// is kept until the end of the turn, because events of this turn may still
    /// contain the id.
    fn release(&mut self, conn: ConnId) {
        if let Some(slot) = self.state.inbound.get_mut(conn.slot()) {
            slot.take_if(|inbound| inbound.id == conn);
        }
        self.net.close_socket(conn);
        self.net.release(conn);
        mutant!(FreeWithinTurn => return self.net.free_slot(conn));
        self.state.slots_to_free.push(conn);
    }
}
