//! A connection with a session between a node and a genuine peer. The wire
//! between them is hostile: it cuts, changes, repeats, reorders and delays the
//! bytes of the peer, as the input decides.
//!
//! TLS and Noise draw keys from the system. The same input therefore makes the
//! same changes at the same places, to other bytes of the same lengths.

mod kinds;
mod node;
mod peer;
mod verdict;
mod watched;
mod wire;

use std::time::Duration;

use peerloop::config::{ConnectionConfig, MinRate, OnPanic, Timeouts, TurnBudget};
use peerloop::sim::{Faults, NodeId, Wire, World};
use peerloop::{Config, ConnId, Direction, Net};

use self::kinds::Kind;
use self::node::Node;
use self::peer::Peer;
use self::wire::Tampered;
use crate::input::Input;

/// Longer than any input takes.
const HANDSHAKE: Duration = Duration::from_secs(300);

/// Number of seconds to wait for the connection. A lost connect is repeated
/// after one, two and four seconds.
const TRIES: usize = 40;

/// Number of rounds of 200 ms without any bytes, after which neither end has
/// bytes to send.
const QUIET_ROUNDS: usize = 10;

/// A connection between a node and a genuine peer.
struct Case {
    kind: Kind,
    world: World,
    node: NodeId<Node>,
    wire: Wire,
    peer: Peer,
    /// The wire from the peer to the node.
    to_node: Tampered,
    /// The end of each message on that wire.
    ends: Vec<usize>,
    done: Done,
}

/// The actions of the input, other than changes of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Done {
    /// The node closed the connection.
    closed: bool,
    /// The node closed its sending side.
    finished: bool,
    /// The bytes from the node to the peer were changed.
    corrupted: bool,
    /// The wire was ended or reset, not by the session of the peer.
    fin: bool,
    rst: bool,
}

/// Runs one connection. The first bytes choose the session, the direction and
/// the world. The others choose the steps.
pub fn session(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = Kind::chosen(&mut input);
    let side = [Direction::Outbound, Direction::Inbound][input.below(2)];
    let half_open = input.below(2) == 1;
    let is_agreed = input.below(3) > 0;
    let Some(mut case) = connect(kind, side, half_open, &mut input) else {
        return;
    };
    if is_agreed {
        case.exchange_all();
        let connected = case.world.handler(case.node).connected;
        assert!(connected == 1 && case.peer.is_established());
    }
    while !input.is_empty() {
        case.step(&mut input);
        case.relay_to_peer(Duration::from_millis(5));
    }
    case.finish();
    verdict::check(half_open, &case);
}

fn connect(kind: Kind, side: Direction, half_open: bool, input: &mut Input<'_>) -> Option<Case> {
    let mut world = World::new(u64::from(input.byte()));
    world.faults([Faults::calm(), Faults::hostile().lossless()][input.below(2)].clone());
    let config = Config {
        connection: ConnectionConfig {
            max_message_len: 4096,
            allow_half_open: half_open,
            timeouts: Timeouts {
                handshake: Some(HANDSHAKE),
                idle: None,
                partial_message: None,
                ..Timeouts::default()
            },
            // An attacker may withhold the rest of a record for long.
            min_rate: MinRate {
                receive_bytes_per_second: None,
                ..MinRate::default()
            },
            ..Default::default()
        },
        read_buffer_bytes: 4096,
        budget: TurnBudget {
            read_bytes: 1 + 16 * input.below(256),
            write_bytes: 1 + 16 * input.below(256),
            ..Default::default()
        },
        // A failed assertion in a session must fail the test.
        on_panic: OnPanic::Unwind,
        ..Config::default()
    };
    let node = world.node(config, Node::new(kind));
    let addr = world.addr(node);
    let wire = match side {
        Direction::Inbound => world.wire(addr).ok(),
        Direction::Outbound => {
            let listener = world.wire_listener(1);
            world
                .with(node, |_, net| net.connect(listener.addr()))
                .ok()?;
            let mut tries = 0..TRIES;
            tries.find_map(|_| {
                world.run_for(Duration::from_secs(1));
                world.accept_wire(listener)
            })
        }
    }?;
    let mut tries = 0..TRIES;
    tries.find(|_| {
        world.run_for(Duration::from_secs(1));
        world.is_wire_connected(wire)
    })?;
    let other = match side {
        Direction::Inbound => Direction::Outbound,
        Direction::Outbound => Direction::Inbound,
    };
    Some(Case {
        kind,
        world,
        node,
        wire,
        peer: Peer::new(kind.session(other)),
        to_node: Tampered::default(),
        ends: Vec::new(),
        done: Done::default(),
    })
}

impl Case {
    /// Advances the time, and passes the bytes of the node to the peer. Returns
    /// whether there were any.
    fn relay_to_peer(&mut self, time: Duration) -> bool {
        self.world.run_for(time);
        let mut arrived = Vec::new();
        // Errors and the end of the stream are checked at the node.
        let _ = self.world.read_wire(self.wire, &mut arrived);
        self.peer.receive(&arrived);
        self.to_node.append(&self.peer.take_output());
        !arrived.is_empty()
    }

    /// Passes at most `count` bytes to the node.
    fn pass(&mut self, count: usize) {
        if self.done.fin || self.done.rst {
            return;
        }
        let (world, wire) = (&mut self.world, self.wire);
        self.to_node
            .pass(count, |bytes| world.write_wire(wire, bytes).unwrap_or(0));
    }

    /// Passes all bytes in both directions, until neither end has more.
    fn exchange_all(&mut self) {
        let mut quiet = 0;
        while quiet < QUIET_ROUNDS {
            let before = self.to_node.passed().len();
            self.pass(usize::MAX);
            let has_output = self.relay_to_peer(Duration::from_millis(200));
            self.resume();
            let is_quiet =
                !has_output && self.to_node.passed().len() == before && self.to_node.is_empty();
            quiet = if is_quiet { quiet + 1 } else { 0 };
            if self.done.fin || self.done.rst || !self.world.is_wire_connected(self.wire) {
                return;
            }
        }
    }

    fn resume(&mut self) {
        self.with(|_, net, conn| net.resume(conn));
    }

    /// Calls the node, if it has the connection.
    fn with(&mut self, call: impl FnOnce(&mut Node, &mut Net, ConnId)) {
        self.world.with(self.node, |it, net| {
            if let Some(conn) = it.open() {
                call(it, net, conn);
            }
        });
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(20) {
            0..=2 => self.send_from_peer(input.below(200)),
            3 | 4 => self.pass(1 + input.below(64)),
            5 | 6 => self.pass(usize::MAX),
            7..=13 => self.tamper(input),
            14 => self.corrupt_to_peer(input),
            15 => self.peer_ends(input),
            16 => self.with(|it, net, conn| it.send(net, conn)),
            17 => self.with(|_, net, conn| net.pause(conn)),
            18 => self.resume(),
            _ => self.node_ends(input),
        }
        self.to_node.append(&self.peer.take_output());
    }

    /// Sends a message from the peer.
    fn send_from_peer(&mut self, len: usize) {
        let was_sent = self.peer.send(len);
        self.to_node.append(&self.peer.take_output());
        if was_sent {
            self.ends.push(self.to_node.genuine_len());
        }
    }

    /// Returns whether the bytes are no longer changed. rustls asserts that the
    /// bytes after its own close_notify are valid (rustls issue 959).
    fn is_tampering_disabled(&self) -> bool {
        self.kind == Kind::Tls && self.done.finished
    }

    fn tamper(&mut self, input: &mut Input<'_>) {
        if !self.is_tampering_disabled() {
            self.to_node.tamper(input);
        }
    }

    /// Changes the bytes from the node to the peer. Does nothing once the peer
    /// has sent its close notification. After a change the peer sends no close
    /// notification.
    fn corrupt_to_peer(&mut self, input: &mut Input<'_>) {
        let mut arrived = Vec::new();
        let _ = self.world.read_wire(self.wire, &mut arrived);
        if !arrived.is_empty() && !self.peer.has_sent_close_notify() {
            let at = input.byte() as usize % arrived.len();
            arrived[at] ^= 1 << input.below(8);
            self.done.corrupted = true;
        }
        self.peer.receive(&arrived);
    }

    fn peer_ends(&mut self, input: &mut Input<'_>) {
        match input.below(4) {
            0 | 1 => self.peer_sends_close_notify(),
            2 => self.end_wire(),
            _ => {
                self.world.reset_wire(self.wire);
                self.done.rst = true;
            }
        }
    }

    fn peer_sends_close_notify(&mut self) {
        if !self.done.corrupted {
            self.peer.send_close_notify();
        }
    }

    fn end_wire(&mut self) {
        if !self.done.rst && self.world.shutdown_wire(self.wire).is_ok() {
            self.done.fin = true;
        }
    }

    fn node_ends(&mut self, input: &mut Input<'_>) {
        let closes = input.below(4) == 0;
        let may_finish = self.kind != Kind::Tls || self.to_node.is_genuine();
        let mut done = self.done;
        self.with(|_, net, conn| {
            if closes {
                net.close(conn);
                done.closed = true;
            } else if may_finish {
                net.close_write(conn);
                done.finished = true;
            }
        });
        self.done = done;
    }

    /// Passes all bytes, then a close notification and the end of the stream.
    /// Then shuts the node down.
    fn finish(&mut self) {
        self.exchange_all();
        self.peer_sends_close_notify();
        self.to_node.append(&self.peer.take_output());
        self.exchange_all();
        self.end_wire();
        self.world.faults(Faults::calm());
        for _ in 0..3 {
            self.resume();
            self.relay_to_peer(Duration::from_secs(2));
        }
        let grace = Duration::from_secs(1);
        self.world.with(self.node, |_, net| net.shutdown(grace));
        self.world.run_for(Duration::from_secs(3));
    }
}
