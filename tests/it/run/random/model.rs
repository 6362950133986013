//! The conditions that must hold for each connection of a node.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::{
    Admission, Bytes, ConnId, ConnInfo, ConnectError, ConnectionState, DisconnectReason, Handler,
    Net, SendError, SendOutcome, TimerId,
};

use crate::util::Random;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    Connecting,
    Open,
    Over,
}

/// The expected state of one connection.
#[derive(Debug)]
pub(super) struct Expected {
    phase: Phase,
    /// This end closed or aborted it: no message may follow.
    closed: bool,
    paused: bool,
    send_shut: bool,
    /// Number of messages that were accepted for sending.
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Tracked sends without an outcome.
    tracked: VecDeque<u64>,
    lost: bool,
    /// The other end, as its messages name it: the node and its id there.
    pub(super) partner: Option<(usize, String)>,
    pub(super) reason: Option<DisconnectReason>,
}

impl Expected {
    fn new(phase: Phase) -> Self {
        Self {
            phase,
            closed: false,
            paused: false,
            send_shut: false,
            sent: 0,
            received: 0,
            tracked: VecDeque::new(),
            lost: false,
            partner: None,
            reason: None,
        }
    }
}

/// Makes random calls, and checks every callback and every result.
pub(super) struct Model {
    number: usize,
    random: Random,
    pub(super) targets: Vec<SocketAddr>,
    pub(super) expected: BTreeMap<ConnId, Expected>,
    /// In the order in which they were given out.
    ids: Vec<ConnId>,
    pub(super) calls_left: usize,
    pub(super) violations: Vec<String>,
}

impl Model {
    pub(super) fn new(number: usize, seed: u64) -> Self {
        Self {
            number,
            random: Random::new(seed * 3 + number as u64),
            targets: Vec::new(),
            expected: BTreeMap::new(),
            ids: Vec::new(),
            calls_left: 1500,
            violations: Vec::new(),
        }
    }

    pub(super) fn has_all_ended(&self) -> bool {
        self.expected.values().all(|conn| conn.phase == Phase::Over)
    }

    fn check(&mut self, holds: bool, conn: ConnId, what: &str) {
        if !holds {
            let state = self.expected.get(&conn);
            self.violations.push(format!("{conn}: {what}: {state:?}"));
        }
    }

    /// Returns the state of a connection after a check of its phase.
    fn in_phase(&mut self, conn: ConnId, phase: Phase, what: &str) -> &mut Expected {
        let found = self.expected.get(&conn).map(|expected| expected.phase);
        self.check(found == Some(phase), conn, what);
        self.expected
            .entry(conn)
            .or_insert_with(|| Expected::new(phase))
    }

    /// Picks one of the last connections, or sometimes one that ended long ago.
    fn any(&mut self) -> Option<ConnId> {
        let recent = self.ids.len().saturating_sub(12);
        let from = if self.random.below(8) > 0 { recent } else { 0 };
        let pick = from + self.random.below((self.ids.len() - from).max(1));
        self.ids.get(pick).copied()
    }

    /// Makes a random call, most of the time.
    pub(super) fn act(&mut self, net: &mut Net) {
        if self.calls_left == 0 || self.random.below(3) == 0 {
            return;
        }
        self.calls_left -= 1;
        let Some(conn) = self.any().filter(|_| self.random.below(12) > 0) else {
            return self.connect(net);
        };
        let now_or_later = Duration::from_millis(self.random.below(3) as u64);
        let expected = self.expected.get_mut(&conn).expect("one of them");
        let live = expected.phase != Phase::Over;
        let state = net.connection(conn).map(|c| c.state());
        // A connect that failed and was not reported yet cannot be cancelled.
        let ends =
            live && (expected.phase == Phase::Open || state == Some(ConnectionState::Connecting));
        match self.random.below(40) {
            0 => {
                expected.closed |= ends;
                net.close(conn);
            }
            1 => {
                expected.closed |= ends;
                net.abort(conn);
            }
            2 => {
                expected.send_shut |= state == Some(ConnectionState::Connected);
                net.close_write(conn);
            }
            3..6 => {
                expected.paused = live;
                net.pause(conn);
            }
            6..12 => {
                expected.paused = false;
                net.resume(conn);
            }
            12 => net.flush(conn),
            13 => {
                net.set_timer(now_or_later, 0);
            }
            _ => self.send(net, conn, state == Some(ConnectionState::Connected)),
        }
    }

    fn connect(&mut self, net: &mut Net) {
        let target = self.targets[self.random.below(self.targets.len())];
        if let Ok(conn) = net.connect(target) {
            let before = self.expected.insert(conn, Expected::new(Phase::Connecting));
            self.check(before.is_none(), conn, "an id was given out twice");
            self.ids.push(conn);
        }
    }

    fn send(&mut self, net: &mut Net, conn: ConnId, connected: bool) {
        let expected = &self.expected[&conn];
        let may = expected.phase == Phase::Open && !expected.closed && !expected.send_shut;
        let token = expected.sent;
        let mut body = format!("{}|{conn}|{token}|", self.number).into_bytes();
        let size = [0, 10, 1000, 20_000][self.random.below(4)];
        body.resize(body.len() + self.random.below(size + 1), b'.');
        let way = self.random.below(3);
        let result = match way {
            0 => net.send(conn, &body),
            1 => net.send(conn, Bytes::from(body)),
            _ => net.send_tracked(conn, Bytes::from(body), token),
        };
        let is_closed = result == Err(SendError::Closed);
        self.check(may || is_closed, conn, "a send that had to be refused");
        self.check(is_closed != (may && connected), conn, "open or closed");
        let expected = self.expected.get_mut(&conn).expect("one of them");
        if result.is_ok() {
            expected.sent += 1;
            expected.tracked.extend((way == 2).then_some(token));
        }
    }

    /// Compares the views of the node with the callbacks.
    pub(super) fn check_views(&mut self, net: &Net) {
        let open: Vec<ConnId> = net.connections().map(|c| c.id()).collect();
        let connecting: Vec<ConnId> = net.connecting().map(|c| c.id()).collect();
        let counts = (net.connection_count(), net.connecting_count());
        if counts != (open.len(), connecting.len()) {
            let violation = format!("{counts:?} for {open:?} and {connecting:?}");
            self.violations.push(violation);
        }
        for conn in open {
            let closed = self.in_phase(conn, Phase::Open, "listed as open").closed;
            self.check(!closed, conn, "listed after a close");
        }
        for conn in connecting {
            self.in_phase(conn, Phase::Connecting, "listed as connecting");
        }
        let recent: Vec<ConnId> = self.ids.iter().rev().take(20).copied().collect();
        for conn in recent {
            let over = self.expected[&conn].phase == Phase::Over;
            let known = net.connection(conn).is_some();
            self.check(known != over, conn, "known until it ends");
        }
    }
}

impl Handler for Model {
    fn on_accept(&mut self, net: &mut Net, _: &ConnInfo) -> Admission {
        self.act(net);
        if self.random.below(10) == 0 {
            Admission::Refuse
        } else {
            Admission::Admit
        }
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        if !self.ids.contains(&conn) {
            self.ids.push(conn);
            self.expected.insert(conn, Expected::new(Phase::Connecting));
        }
        let expected = self.in_phase(conn, Phase::Connecting, "on_connect");
        expected.phase = Phase::Open;
        let closed = expected.closed;
        self.check(!closed, conn, "connected after a close");
        self.act(net);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let expected = self.in_phase(conn, Phase::Open, "on_message");
        let stopped = expected.closed || expected.paused;
        let text = String::from_utf8_lossy(message);
        let mut words = text.split('|');
        let node = words.next().and_then(|word| word.parse().ok());
        let partner = node.zip(words.next().map(str::to_owned));
        let number = words.next().and_then(|word| word.parse().ok());
        let in_order = number == Some(expected.received);
        let same = expected.partner.is_none() || expected.partner == partner;
        expected.received += 1;
        expected.partner = partner;
        self.check(!stopped, conn, "a message after a close or a pause");
        self.check(in_order && same, conn, &format!("not in order: {number:?}"));
        self.act(net);
        self.act(net);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        let expected = self.in_phase(conn, Phase::Open, "on_drain");
        let closed = expected.closed || expected.send_shut;
        self.check(!closed, conn, "a drain after a close");
        self.act(net);
    }

    fn on_sent(&mut self, net: &mut Net, conn: ConnId, token: u64, outcome: SendOutcome) {
        let expected = self.in_phase(conn, Phase::Open, "on_sent");
        let in_order = expected.tracked.pop_front() == Some(token);
        let after_lost = expected.lost && outcome == SendOutcome::HandedOver;
        expected.lost |= outcome == SendOutcome::Lost;
        self.check(in_order, conn, "a tracked send out of order");
        self.check(!after_lost, conn, "handed over after a lost one");
        self.act(net);
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        _: &ConnInfo,
        error: ConnectError,
    ) {
        let expected = self.in_phase(conn, Phase::Connecting, "on_connect_failed");
        expected.phase = Phase::Over;
        let matches = expected.closed == (error == ConnectError::Cancelled);
        self.check(matches, conn, &format!("failed with {error}"));
        let known = net.connection(conn).is_some();
        self.check(known, conn, "unknown in its last callback");
        self.act(net);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        let expected = self.in_phase(conn, Phase::Open, "on_disconnect");
        expected.phase = Phase::Over;
        expected.reason = Some(reason);
        let answered = expected.tracked.is_empty();
        self.check(answered, conn, "tracked sends without an outcome");
        self.act(net);
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        self.act(net);
    }

    fn on_turn(&mut self, net: &mut Net) {
        self.act(net);
    }
}
