//! The handler around the user's handler. It records each callback and forwards
//! it.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Instant;

use super::ledger::Ledger;
use super::session_probe::SessionProbe;
use crate::addr::ConnInfo;
use crate::connection::{ConnEntry, Lifecycle};
use crate::error::{ConnectError, DisconnectReason};
use crate::handler::{Admission, Handler, SendOutcome};
use crate::id::{ConnId, SourceId, TimerId, UdpId};
use crate::net::Net;
use crate::session::Transport;
use crate::sys::Readiness;
use crate::sys::sim::{Actor, SharedInternet, SocketId, Source, digest};

pub(crate) struct Observer<H> {
    pub(super) handler: H,
    pub(super) ledger: Ledger,
    internet: SharedInternet,
    poller: usize,
}

impl<H> Observer<H> {
    pub(super) fn new(handler: H, internet: SharedInternet, poller: usize) -> Self {
        Self {
            handler,
            ledger: Ledger::default(),
            internet,
            poller,
        }
    }

    /// Records a callback, and spends the time that the faults draw for it.
    fn note(&mut self, net: &Net, what: &'static str, subject: u64, detail: u64) {
        let mut internet = self.internet.lock();
        internet.note(Actor::Node(self.poller), what, subject, detail);
        drop(internet);
        self.check_clock(net);
    }

    /// Returns the time on the clock of the loop.
    fn clock(&self) -> Instant {
        self.internet.lock().clock(self.poller)
    }

    fn check_clock(&mut self, net: &Net) {
        let mut internet = self.internet.lock();
        let clock = internet.clock(self.poller);
        internet.draw_callback_time();
        drop(internet);
        self.ledger.check_clock(net.now(), clock);
    }

    /// Returns the socket of a connection. Its addresses do not identify it,
    /// because a PROXY header may have changed them.
    fn socket(net: &Net, conn: ConnId) -> Option<SocketId> {
        net.stream(conn)?.sim_id()
    }

    /// Compares a message with the bytes that have arrived.
    fn compare(&mut self, net: &Net, conn: ConnId, message: &[u8]) {
        let Some(socket) = Self::socket(net, conn) else {
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

    fn on_accept(&mut self, net: &mut Net, info: &ConnInfo) -> Admission {
        self.note(net, "on_accept", u64::from(info.addr.port()), 0);
        self.handler.on_accept(net, info)
    }

    fn transport(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        self.note(net, "transport", conn.to_bits(), 0);
        let transport = self.handler.transport(net, conn, info)?;
        let Some(entry) = net.conns.get(conn) else {
            return Ok(transport);
        };
        let Some(socket) = Self::socket(net, conn) else {
            return Ok(transport);
        };
        let source = match transport {
            Transport::Plain => Source::Wire,
            Transport::Session(_) => Source::Session,
        };
        let framing = &entry.config.framing;
        self.internet.lock().follow(socket, source, framing);
        Ok(match transport {
            Transport::Plain => Transport::Plain,
            Transport::Session(session) => {
                SessionProbe::new(session, self.internet.clone(), socket).into()
            }
        })
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.note(net, "on_connect", conn.to_bits(), 0);
        self.ledger.connected(conn);
        self.handler.on_connect(net, conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.note(net, "on_message", conn.to_bits(), digest(message));
        self.ledger.message(conn);
        self.compare(net, conn, message);
        let state = net.conns.get(conn).map(ConnEntry::lifecycle);
        if state != Some(Lifecycle::Open) {
            let violation = || format!("on_message for {conn}, which is {state:?}");
            self.ledger.violate(violation);
        }
        if net.conns.get(conn).is_some_and(|entry| entry.paused) {
            let violation = || format!("on_message for {conn}, which is paused");
            self.ledger.violate(violation);
        }
        let began = self.clock();
        self.handler.on_message(net, conn, message);
        let times = (began, self.clock());
        let max_visit_time = net.config.budget.max_visit_time;
        self.ledger.check_visit(conn, times, max_visit_time);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.note(net, "on_drain", conn.to_bits(), queued_bytes(net, conn));
        self.ledger.expect_live(conn, "on_drain");
        self.handler.on_drain(net, conn);
    }

    fn on_sent(&mut self, net: &mut Net, conn: ConnId, token: u64, outcome: SendOutcome) {
        self.note(net, "on_sent", conn.to_bits(), token);
        self.ledger.answered(conn, token);
        self.handler.on_sent(net, conn, token, outcome);
    }

    fn on_read_closed(&mut self, net: &mut Net, conn: ConnId) {
        self.note(net, "on_read_closed", conn.to_bits(), 0);
        self.ledger.read_closed(conn);
        self.handler.on_read_closed(net, conn);
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        self.note(net, "on_connect_failed", conn.to_bits(), 0);
        self.ledger.connect_failed(conn, info.direction, error);
        self.handler.on_connect_failed(net, conn, info, error);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.note(
            net,
            "on_disconnect",
            conn.to_bits(),
            queued_bytes(net, conn),
        );
        self.ledger.disconnected(conn, reason);
        self.handler.on_disconnect(net, conn, reason);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        self.note(net, "on_timer", timer.serial, key);
        self.handler.on_timer(net, timer, key);
    }

    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, key: u64) {
        self.note(net, "on_conn_timer", conn.to_bits(), key);
        let is_ending = net.conns.get(conn).is_none_or(|entry| !entry.is_live());
        if is_ending {
            let violation = || format!("on_conn_timer for {conn}, which has ended");
            self.ledger.violate(violation);
        }
        self.handler.on_conn_timer(net, conn, key);
    }

    fn on_datagram(&mut self, net: &mut Net, udp: UdpId, from: SocketAddr, datagram: &[u8]) {
        self.note(net, "on_datagram", udp.slot() as u64, digest(datagram));
        let socket = net.udp.get(udp).and_then(|entry| entry.socket.sim_id());
        let delivered = socket.map(|id| {
            let mut internet = self.internet.lock();
            internet.delivered_datagram(id, from, datagram)
        });
        if let Some(Err(problem)) = delivered {
            let len = datagram.len();
            let violation = || format!("on_datagram for {udp:?}: {len} bytes, {problem}");
            self.ledger.violate(violation);
        }
        self.handler.on_datagram(net, udp, from, datagram);
    }

    fn on_udp_drain(&mut self, net: &mut Net, udp: UdpId) {
        self.note(net, "on_udp_drain", udp.slot() as u64, 0);
        self.handler.on_udp_drain(net, udp);
    }

    fn on_ready(&mut self, net: &mut Net, source: SourceId, readiness: Readiness) {
        self.handler.on_ready(net, source, readiness);
    }

    fn on_turn(&mut self, net: &mut Net) {
        self.check_clock(net);
        self.handler.on_turn(net);
    }
}

fn queued_bytes(net: &Net, conn: ConnId) -> u64 {
    let entry = net.conns.get(conn);
    entry.map_or(0, |entry| entry.queued_bytes() as u64)
}
