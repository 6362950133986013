//! The handler between the node and the user's own: it writes down and passes on.

use std::net::{IpAddr, SocketAddr};

use super::ledger::Ledger;
use super::session_probe::SessionProbe;
use crate::connection::{ConnEntry, Lifecycle};
use crate::error::{ConnectError, DisconnectReason};
use crate::handler::{Admission, Handler, SendOutcome};
use crate::id::{ConnId, TimerId};
use crate::net::Net;
use crate::session::Session;
use crate::sys::sim::{SharedInternet, SocketId, Source, Who, digest};

pub(crate) struct Observer<H> {
    pub(super) handler: H,
    pub(super) ledger: Ledger,
    internet: SharedInternet,
    host: IpAddr,
    poller: usize,
}

impl<H> Observer<H> {
    pub(super) fn new(handler: H, internet: SharedInternet, host: IpAddr, poller: usize) -> Self {
        Self {
            handler,
            ledger: Ledger::default(),
            internet,
            host,
            poller,
        }
    }

    /// Writes down that a callback is called.
    fn note(&mut self, net: &Net, what: &'static str, subject: u64, detail: u64) {
        self.ledger.see_clock(net.now());
        let mut internet = self.internet.lock();
        internet.note(Who::Node(self.poller), what, subject, detail);
    }

    /// The socket of a connection.
    fn socket(&self, net: &Net, conn: ConnId) -> Option<SocketId> {
        let entry = net.connection(conn)?;
        let (local, remote) = (entry.local_addr()?, entry.addr());
        let internet = self.internet.lock();
        internet.socket_between(self.host, local, remote)
    }

    /// Compares a message with what has arrived.
    fn compare(&mut self, net: &Net, conn: ConnId, message: &[u8]) {
        let Some(socket) = self.socket(net, conn) else {
            return;
        };
        let result = self.internet.lock().delivered(socket, message);
        if let Err(problem) = result {
            let len = message.len();
            let violation = || format!("on_message for {conn}: {len} bytes, {problem}");
            self.ledger.violate(violation);
        }
    }
}

impl<H: Handler> Handler for Observer<H> {
    fn on_start(&mut self, net: &mut Net) {
        self.note(net, "on_start", 0, 0);
        self.handler.on_start(net);
    }

    fn on_accept(&mut self, net: &mut Net, addr: SocketAddr) -> Admission {
        self.note(net, "on_accept", u64::from(addr.port()), 0);
        self.handler.on_accept(net, addr)
    }

    fn session(
        &mut self,
        net: &mut Net,
        conn: ConnId,
    ) -> std::io::Result<Option<Box<dyn Session>>> {
        self.note(net, "session", conn.to_bits(), 0);
        let session = self.handler.session(net, conn)?;
        let Some(entry) = net.conns.get(conn) else {
            return Ok(session);
        };
        let Some(socket) = self.socket(net, conn) else {
            return Ok(session);
        };
        let source = match session {
            None => Source::Wire,
            Some(_) => Source::Session,
        };
        let framing = &entry.profile.framing;
        self.internet.lock().follow(socket, source, framing);
        let witness = |session| -> Box<dyn Session> {
            Box::new(SessionProbe::new(session, self.internet.clone(), socket))
        };
        Ok(session.map(witness))
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.note(net, "on_connect", conn.to_bits(), 0);
        self.ledger
            .connected(conn, net.connection(conn).map(ConnEntry::direction));
        self.handler.on_connect(net, conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.note(net, "on_message", conn.to_bits(), digest(message));
        self.ledger.message(conn);
        self.compare(net, conn, message);
        let state = net.connection(conn).map(ConnEntry::lifecycle);
        if state != Some(Lifecycle::Open) {
            let violation = || format!("on_message for {conn}, which is {state:?}");
            self.ledger.violate(violation);
        }
        if net.connection(conn).is_some_and(|entry| entry.paused) {
            let violation = || format!("on_message for {conn}, which is paused");
            self.ledger.violate(violation);
        }
        self.handler.on_message(net, conn, message);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.note(net, "on_drain", conn.to_bits(), net.queued(conn) as u64);
        self.ledger.expect_live(conn, "on_drain");
        self.handler.on_drain(net, conn);
    }

    fn on_sent(&mut self, net: &mut Net, conn: ConnId, token: u64, outcome: SendOutcome) {
        self.note(net, "on_sent", conn.to_bits(), token);
        self.ledger.answered(conn, token);
        self.handler.on_sent(net, conn, token, outcome);
    }

    fn on_finished(&mut self, net: &mut Net, conn: ConnId) {
        self.note(net, "on_finished", conn.to_bits(), 0);
        self.ledger.finished(conn);
        self.handler.on_finished(net, conn);
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        addr: SocketAddr,
        error: ConnectError,
    ) {
        self.note(net, "on_connect_failed", conn.to_bits(), 0);
        self.ledger.connect_failed(conn);
        self.handler.on_connect_failed(net, conn, addr, error);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.note(
            net,
            "on_disconnect",
            conn.to_bits(),
            net.queued(conn) as u64,
        );
        self.ledger.disconnected(conn);
        self.handler.on_disconnect(net, conn, reason);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        self.note(net, "on_timer", timer.serial, key);
        self.handler.on_timer(net, timer, key);
    }

    fn on_turn(&mut self, net: &mut Net) {
        self.ledger.see_clock(net.now());
        self.handler.on_turn(net);
    }
}
