//! The last callback of a connection, and giving back what it held.

use super::Driver;
use crate::handler::{Handler, SendOutcome};
use crate::id::{ConnId, Side};
use crate::peer::{Ending, State};
use crate::planted::planted;

impl<H: Handler> Driver<'_, H> {
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
        let sent = std::mem::take(&mut self.core.sent);
        let (handed_over, others) = sent.into_iter().partition(|(sender, _)| *sender == conn);
        self.core.sent = others;
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
        let Some(peer) = self.net.peers.get(conn) else {
            return;
        };
        let (addr, name) = (peer.addr(), &self.net.config.name);
        match peer.inner_state() {
            State::Ended(Ending::Failed(error)) if peer.side() == Side::Responder => {
                log::debug!(target: "peerloop", "{name}: {conn}: {addr}: {error}");
            }
            State::Ended(Ending::Failed(error)) => {
                log::debug!(target: "peerloop", "{name}: {conn}: dialling {addr}: {error}");
                self.call("on_connect_failed", None, |handler, net| {
                    handler.on_connect_failed(net, conn, addr, error);
                });
            }
            State::Ended(Ending::Disconnected(reason)) => {
                log::debug!(target: "peerloop", "{name}: {conn}: {addr} disconnected: {reason}");
                self.call("on_disconnect", None, |handler, net| {
                    handler.on_disconnect(net, conn, reason)
                });
            }
            State::Connecting
            | State::Handshaking
            | State::Open
            | State::Closing(_)
            | State::Gone => {}
        }
    }

    /// Closes the socket and gives everything back. The slot itself is kept until the end of the turn, so that no
    /// other connection takes the id's place while this turn's events may still name it.
    fn release(&mut self, conn: ConnId) {
        let reset = self.net.peers.get(conn).is_some_and(|peer| peer.reset);
        let slot = self.core.inbound.get_mut(conn.slot());
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
        if let Some(siblings) = &self.net.siblings {
            siblings.wake_resting();
        }
        if planted!(FreeWithinTurn) {
            return self.net.free(conn);
        }
        self.core.gone.push(conn);
    }
}
