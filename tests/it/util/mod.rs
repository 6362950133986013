//! Common parts of the integration tests: a handler that records its callbacks,
//! and functions that run nodes in the thread of the test until a condition
//! holds, with a bound.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    unused_macros,
    reason = "each test binary uses its own part of it"
)]

#[cfg(unix)]
pub mod child;
pub mod ciphers;
mod config;
#[cfg(feature = "sim")]
pub mod crowd;
#[cfg(feature = "sim")]
pub mod datagrams;
mod frame;
pub mod framings;
#[cfg(feature = "sim")]
pub mod hello_nodes;
pub mod keeper;
#[cfg(feature = "sim")]
pub mod lookups;
#[cfg(target_os = "linux")]
pub mod netns;
#[cfg(feature = "sim")]
pub mod occupied;
pub mod outcome;
pub mod program;
#[cfg(feature = "sim")]
pub mod proxied;
pub mod proxy_header;
mod random;
pub mod raw;
#[cfg(feature = "sim")]
pub mod secured;
pub mod session_end;
pub mod session_peer;
pub mod sessions;
pub mod settings;
#[cfg(feature = "noise")]
pub mod snow_peer;
pub mod sockets;
#[cfg(target_os = "linux")]
pub mod steps;
pub mod streams;
#[cfg(feature = "tls")]
pub mod tls;
pub mod waits;
#[cfg(feature = "sim")]
pub mod workload;

use peerloop::config::TurnBudget;
use peerloop::{
    Admission, Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node,
    SendOutcome, TimerId, Transport, Turn,
};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use peerloop::session::Session;

pub use config::{LARGEST_RATE, config_with, largest_rates, strict};
pub use frame::frame;
pub use random::Random;

/// The time within which a condition must hold. It is far more than needed,
/// because test machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A budget without time limits, for tests that assert what one turn does: on a
/// busy machine a turn may take longer than the default limits.
pub fn unlimited_time() -> TurnBudget {
    TurnBudget {
        max_visit_time: PATIENCE,
        max_turn_time: PATIENCE,
        ..Default::default()
    }
}

/// One callback.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Start,
    Connect(ConnId),
    Message(ConnId, Vec<u8>),
    Drain(ConnId),
    Sent(ConnId, u64, SendOutcome),
    ReadClosed(ConnId),
    ConnectFailed(ConnId, ConnectError),
    Disconnect(ConnId, DisconnectReason),
    Timer(TimerId, u64),
}

/// A function that a test runs inside each callback.
pub type Reaction = Box<dyn FnMut(&mut Net, &Event) + Send>;

/// A function that returns the session of a connection.
pub type Sessions = Box<dyn FnMut(&mut Net, ConnId) -> io::Result<Option<Box<dyn Session>>> + Send>;

/// Records every callback in order, and calls the function of the test.
pub struct Recorder {
    pub events: Vec<Event>,
    /// Calls of `on_turn`, which are too many to write down.
    pub turns: usize,
    pub reaction: Reaction,
    pub admission: Admission,
    /// Makes the session of each connection.
    pub sessions: Sessions,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::reacting(|_, _| {})
    }
}

impl Recorder {
    pub fn reacting(reaction: impl FnMut(&mut Net, &Event) + Send + 'static) -> Self {
        let reaction = Box::new(reaction);
        Self {
            events: Vec::new(),
            turns: 0,
            reaction,
            admission: Admission::Admit,
            sessions: Box::new(|_, _| Ok(None)),
        }
    }

    /// Answers every message with itself.
    pub fn echo() -> Self {
        Self::reacting(|net, event| {
            if let Event::Message(conn, message) = event {
                net.send(*conn, message).expect("the queue has room");
            }
        })
    }

    fn record(&mut self, net: &mut Net, event: Event) {
        self.events.push(event);
        let event = self.events.last().expect("pushed above");
        (self.reaction)(net, event);
    }

    /// The connections that were established, in order.
    pub fn connected(&self) -> Vec<ConnId> {
        let pick = |event: &Event| match event {
            Event::Connect(conn) => Some(*conn),
            _ => None,
        };
        self.events.iter().filter_map(pick).collect()
    }

    /// The messages of one connection, in order.
    pub fn messages(&self, conn: ConnId) -> Vec<&[u8]> {
        let body = |event| match event {
            &Event::Message(from, ref body) if from == conn => Some(body.as_slice()),
            _ => None,
        };
        self.events.iter().filter_map(body).collect()
    }

    /// Why a connection ended, if it has.
    pub fn ended(&self, conn: ConnId) -> Option<DisconnectReason> {
        self.events.iter().find_map(|event| match event {
            Event::Disconnect(which, reason) if *which == conn => Some(*reason),
            _ => None,
        })
    }

    pub fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| which(event)).count()
    }
}

impl Handler for Recorder {
    fn on_start(&mut self, net: &mut Net) {
        self.record(net, Event::Start);
    }

    fn on_accept(&mut self, _: &mut Net, _: &ConnInfo) -> Admission {
        self.admission
    }

    fn transport(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn std::error::Error + Send + Sync>> {
        Ok(match (self.sessions)(net, conn)? {
            Some(session) => Transport::Session(session),
            None => Transport::Plain,
        })
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.record(net, Event::Connect(conn));
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.record(net, Event::Message(conn, message.to_vec()));
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.record(net, Event::Drain(conn));
    }

    fn on_sent(&mut self, net: &mut Net, conn: ConnId, token: u64, outcome: SendOutcome) {
        self.record(net, Event::Sent(conn, token, outcome));
    }

    fn on_read_closed(&mut self, net: &mut Net, conn: ConnId) {
        self.record(net, Event::ReadClosed(conn));
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        _: &ConnInfo,
        error: ConnectError,
    ) {
        // Tests compare kinds, because codes differ between systems.
        let error = match error {
            ConnectError::Io(error) => ConnectError::Io(error.kind.into()),
            error => error,
        };
        self.record(net, Event::ConnectFailed(conn, error));
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        let reason = match reason {
            DisconnectReason::Io(error) => DisconnectReason::Io(error.kind.into()),
            reason => reason,
        };
        self.record(net, Event::Disconnect(conn, reason));
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        self.record(net, Event::Timer(timer, key));
    }

    fn on_turn(&mut self, _: &mut Net) {
        self.turns += 1;
    }
}

pub type TestNode = Node<Recorder>;

pub fn node(config: Config, handler: Recorder) -> TestNode {
    Node::new(config, handler).expect("a node")
}

/// A node that listens on a port of the system's choice.
pub fn listening(config: Config, handler: Recorder) -> (TestNode, SocketAddr) {
    let mut node = node(config, handler);
    let addr = node.net().listen("127.0.0.1:0").expect("a listener").addr;
    (node, addr)
}

/// A turn of a node that may have stopped already.
#[track_caller]
pub fn turn<H: Handler>(node: &mut Node<H>, timeout: Option<Duration>) -> Turn {
    match node.turn(timeout) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Turn::Stopped,
        turn => turn.expect("a turn"),
    }
}

/// Waits until a condition holds that other threads bring about.
#[track_caller]
pub fn eventually(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "the condition did not become true");
        std::thread::yield_now();
    }
}

/// Runs the nodes, turn by turn in this thread, until the condition holds.
#[track_caller]
pub fn run_until<const N: usize>(
    mut nodes: [&mut TestNode; N],
    mut condition: impl FnMut(&mut [&mut TestNode; N]) -> bool,
) {
    let end = Instant::now() + PATIENCE;
    while !condition(&mut nodes) {
        if Instant::now() > end {
            let logs: Vec<_> = nodes
                .iter()
                .map(|node| abridged(&node.handler().events))
                .collect();
            panic!("the condition did not become true; the callbacks so far: {logs:#?}");
        }
        for node in &mut nodes {
            let _ = turn(node, Some(Duration::from_millis(1)));
        }
    }
}

/// Runs the nodes for a while in which something is not to happen.
pub fn run_for<const N: usize>(time: Duration, nodes: [&mut TestNode; N]) {
    let end = Instant::now() + time;
    run_until(nodes, |_| Instant::now() >= end);
}

/// Two connected nodes, each with its id of the connection. The first one has
/// connected.
pub fn pair(config: Config, a: Recorder, b: Recorder) -> (TestNode, ConnId, TestNode, ConnId) {
    let mut connector = node(config.clone(), a);
    let (mut listener, addr) = listening(config, b);
    let there = connector.net().connect(addr).expect("a connect");
    run_until([&mut connector, &mut listener], |[connector, listener]| {
        !connector.handler().connected().is_empty() && !listener.handler().connected().is_empty()
    });
    let here = listener.handler().connected()[0];
    (connector, there, listener, here)
}

/// The last events, with long messages cut short.
fn abridged(events: &[Event]) -> Vec<String> {
    let skipped = events.len().saturating_sub(40);
    let show = |event: &Event| format!("{event:?}").chars().take(120).collect();
    events[skipped..].iter().map(show).collect()
}
