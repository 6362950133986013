//! The handler between the node and the user's own: it writes down and passes on.

use std::net::SocketAddr;

use super::ledger::Ledger;
use crate::error::{ConnectError, DisconnectReason};
use crate::handler::{Admission, Handler, SendOutcome};
use crate::id::{ConnId, TimerId};
use crate::net::Net;
use crate::network::sim::{Shared, Who, digest};
use crate::peer::{Peer, State};
use crate::session::Session;

pub(crate) struct Observer<H> {
    pub(super) handler: H,
    pub(super) ledger: Ledger,
    internet: Shared,
    poller: usize,
}

impl<H> Observer<H> {
    pub(super) fn new(handler: H, internet: Shared, poller: usize) -> Self {
        Self {
            handler,
            ledger: Ledger::default(),
            internet,
            poller,
        }
    }

    fn note(&self, what: &'static str, subject: u64, detail: u64) {
        let mut internet = self.internet.lock();
        internet.note(Who::Node(self.poller), what, subject, detail);
    }
}

impl<H: Handler> Handler for Observer<H> {
    fn on_start(&mut self, net: &mut Net) {
        self.note("on_start", 0, 0);
        self.handler.on_start(net);
    }

    fn on_accept(&mut self, net: &mut Net, addr: SocketAddr) -> Admission {
        self.note("on_accept", u64::from(addr.port()), 0);
        self.handler.on_accept(net, addr)
    }

    fn session(
        &mut self,
        net: &mut Net,
        conn: ConnId,
    ) -> std::io::Result<Option<Box<dyn Session>>> {
        self.handler.session(net, conn)
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.note("on_connect", conn.to_bits(), 0);
        self.ledger.connected(conn, net.peer(conn).map(Peer::side));
        self.handler.on_connect(net, conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.note("on_message", conn.to_bits(), digest(message));
        self.ledger.expect_live(conn, "on_message");
        let state = net.peer(conn).map(Peer::inner_state);
        if state != Some(State::Open) {
            let violation = || format!("on_message for {conn}, which is {state:?}");
            self.ledger.violate(violation);
        }
        if net.peer(conn).is_some_and(|peer| peer.paused) {
            let violation = || format!("on_message for {conn}, which is paused");
            self.ledger.violate(violation);
        }
        self.handler.on_message(net, conn, message);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.note("on_drain", conn.to_bits(), net.queued(conn) as u64);
        self.ledger.expect_live(conn, "on_drain");
        self.handler.on_drain(net, conn);
    }

    fn on_sent(&mut self, net: &mut Net, conn: ConnId, token: u64, outcome: SendOutcome) {
        self.note("on_sent", conn.to_bits(), token);
        self.ledger.expect_live(conn, "on_sent");
        self.ledger.answered += 1;
        self.handler.on_sent(net, conn, token, outcome);
    }

    fn on_finished(&mut self, net: &mut Net, conn: ConnId) {
        self.note("on_finished", conn.to_bits(), 0);
        self.ledger.expect_live(conn, "on_finished");
        self.handler.on_finished(net, conn);
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        addr: SocketAddr,
        error: ConnectError,
    ) {
        self.note("on_connect_failed", conn.to_bits(), 0);
        self.ledger.connect_failed(conn);
        self.handler.on_connect_failed(net, conn, addr, error);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.note("on_disconnect", conn.to_bits(), net.queued(conn) as u64);
        self.ledger.disconnected(conn);
        self.handler.on_disconnect(net, conn, reason);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        self.note("on_timer", timer.serial, key);
        self.handler.on_timer(net, timer, key);
    }

    fn on_turn(&mut self, net: &mut Net) {
        self.handler.on_turn(net);
    }
}
