//! The last callback of a connection, and giving back what it held.

use super::EventLoop;
use crate::connection::{Ending, Lifecycle};
use crate::handler::{Handler, SendOutcome};
use crate::id::{ConnId, Direction};
use crate::mutants::mutant;

impl<H: Handler> EventLoop<'_, H> {
    /// Reports every connection that has ended, and releases it.
    pub(super) fn report_ends(&mut self) {
        for conn in std::mem::take(&mut self.net.work.ended) {
            self.report_sends(conn);
            self.report_end(conn);
            self.release(conn);
            self.flush_urgent();
        }
    }

    /// Answers the tracked sends of a connection that has ended.
    fn report_sends(&mut self, conn: ConnId) {
        let sent = std::mem::take(&mut self.state.sent);
        let (handed_over, others) = sent.into_iter().partition(|(sender, _)| *sender == conn);
        self.state.sent = others;
        let handed_over: Vec<(ConnId, u64)> = handed_over;
        for (conn, token) in handed_over {
            self.report_send(conn, token, SendOutcome::HandedOver);
        }
        while let Some(token) = self.net.pop_lost(conn) {
            self.report_send(conn, token, SendOutcome::Lost);
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
        let (addr, name) = (entry.addr(), &self.net.config.name);
        match entry.lifecycle() {
            Lifecycle::Ended(Ending::Failed(error)) if entry.direction() == Direction::Inbound => {
                log::debug!(target: "peerloop", "{name}: {conn}: {addr}: {error}");
            }
            Lifecycle::Ended(Ending::Failed(error)) => {
                log::debug!(target: "peerloop", "{name}: {conn}: dialling {addr}: {error}");
                self.call("on_connect_failed", None, |handler, net| {
                    handler.on_connect_failed(net, conn, addr, error);
                });
            }
            Lifecycle::Ended(Ending::Disconnected(reason)) => {
                log::debug!(target: "peerloop", "{name}: {conn}: {addr} disconnected: {reason}");
                self.call("on_disconnect", None, |handler, net| {
                    handler.on_disconnect(net, conn, reason)
                });
            }
            Lifecycle::Connecting
            | Lifecycle::Handshaking
            | Lifecycle::Open
            | Lifecycle::Closing(_)
            | Lifecycle::Released => {}
        }
    }

    /// Closes the socket and gives everything back. The slot itself is kept until the end of the turn, so that no
    /// other connection takes the id's place while this turn's events may still name it.
    fn release(&mut self, conn: ConnId) {
        let reset = self.net.conns.get(conn).is_some_and(|entry| entry.reset);
        let slot = self.state.inbound.get_mut(conn.slot());
        if let Some(mut inbound) = slot.and_then(|slot| slot.take_if(|inbound| inbound.id == conn))
        {
            if reset {
                // A socket that is broken already cannot be reset; then there is no need to.
                let _ = inbound.stream.reset_on_close();
            }
            if let Err(error) = self.net.registrar.remove_stream(&mut inbound.stream) {
                log::debug!(target: "peerloop", "{}: {conn}: deregistering: {error}", self.net.config.name);
            }
        }
        self.net.release(conn);
        self.net.wake_listeners();
        if let Some(router) = &self.net.router {
            router.wake_resting();
        }
        if mutant!(FreeWithinTurn) {
            return self.net.free(conn);
        }
        self.state.slots_to_free.push(conn);
    }
}
