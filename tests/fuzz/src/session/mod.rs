//! A connection with a session, whose peer is genuine and whose wire is not:
//! what the peer says is cut, changed, doubled, put in another order, and
//! passed in pieces, as the input decides.
//!
//! TLS and Noise draw keys from the system: an input does the same at the same
//! places each time, to other bytes of the same lengths.

mod kinds;
mod node;
mod peer;
mod verdict;
mod watched;
mod wire;

use std::time::Duration;

use peerloop::config::{ConnectionConfig, OnPanic, Timeouts, TurnBudget};
use peerloop::sim::{Faults, NodeId, Wire, World};
use peerloop::{Config, ConnId, Direction, Net};

use self::kinds::Kind;
use self::node::Node;
use self::peer::Peer;
use self::wire::Tampered;
use crate::input::Input;

/// Longer than any input may take.
const HANDSHAKE: Duration = Duration::from_secs(300);

/// Seconds to connect in. A connect that is lost is tried again after one, two,
/// four.
const TRIES: usize = 40;

/// Silences of 200 ms after which nobody has anything to say.
const SILENCES: usize = 10;

/// A connection between a node and a genuine peer.
struct Case {
    kind: Kind,
    world: World,
    node: NodeId<Node>,
    wire: Wire,
    peer: Peer,
    /// From the peer to the node.
    way: Tampered,
    /// Where each message ends there.
    ends: Vec<usize>,
    done: Done,
}

/// What the input has done beside what it did to the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Done {
    /// The node was told to close the connection.
    closed: bool,
    /// The node was told to end its own side.
    finished: bool,
    /// What the peer hears was changed.
    misheard: bool,
    /// Not by this side's session.
    fin: bool,
    rst: bool,
}

/// The first bytes choose the session, the side and the world; the others are
/// what happens.
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
        case.talk_freely();
        let connected = case.world.handler(case.node).connected;
        assert!(connected == 1 && case.peer.is_established());
    }
    while !input.is_empty() {
        case.step(&mut input);
        case.listen(Duration::from_millis(5));
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
            ..Default::default()
        },
        read_buffer_bytes: 4096,
        budget: TurnBudget {
            read_bytes: 1 + 16 * input.below(256),
            write_bytes: 1 + 16 * input.below(256),
            ..Default::default()
        },
        // What a session asserts, and what is asserted of it, is to fail.
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
        way: Tampered::default(),
        ends: Vec::new(),
        done: Done::default(),
    })
}

impl Case {
    /// Lets time go on; what the node says, the peer hears. Whether it has said
    /// anything.
    fn listen(&mut self, time: Duration) -> bool {
        self.world.run_for(time);
        let mut heard = Vec::new();
        // The end, and whether it is one of those that are to be, is judged at
        // the node.
        let _ = self.world.read_wire(self.wire, &mut heard);
        self.peer.hear(&heard);
        self.way.say(&self.peer.said());
        !heard.is_empty()
    }

    /// Passes so many of the bytes on the way.
    fn pass(&mut self, count: usize) {
        if self.done.fin || self.done.rst {
            return;
        }
        let (world, wire) = (&mut self.world, self.wire);
        self.way
            .pass(count, |bytes| world.write_wire(wire, bytes).unwrap_or(0));
    }

    /// Passes everything, until nobody has anything to say.
    fn talk_freely(&mut self) {
        let mut silent = 0;
        while silent < SILENCES {
            let before = self.way.passed().len();
            self.pass(usize::MAX);
            let has_spoken = self.listen(Duration::from_millis(200));
            self.resume();
            let is_silent = !has_spoken && self.way.passed().len() == before && self.way.is_empty();
            silent = if is_silent { silent + 1 } else { 0 };
            if self.done.fin || self.done.rst || !self.world.is_wire_connected(self.wire) {
                return;
            }
        }
    }

    fn resume(&mut self) {
        self.with(|_, net, conn| net.resume(conn));
    }

    /// Does something with the node, if it has the connection.
    fn with(&mut self, call: impl FnOnce(&mut Node, &mut Net, ConnId)) {
        self.world.with(self.node, |it, net| {
            if let Some(conn) = it.open() {
                call(it, net, conn);
            }
        });
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(20) {
            0..=2 => self.say(input.below(200)),
            3 | 4 => self.pass(1 + input.below(64)),
            5 | 6 => self.pass(usize::MAX),
            7..=13 => self.tamper(input),
            14 => self.mishear(input),
            15 => self.peer_ends(input),
            16 => self.with(|it, net, conn| it.send(net, conn)),
            17 => self.with(|_, net, conn| net.pause(conn)),
            18 => self.resume(),
            _ => self.node_ends(input),
        }
        self.way.say(&self.peer.said());
    }

    /// Has the peer say a message.
    fn say(&mut self, len: usize) {
        let has_said = self.peer.say(len);
        self.way.say(&self.peer.said());
        if has_said {
            self.ends.push(self.way.said_len());
        }
    }

    /// rustls asserts that nothing is wrong with what comes after its own
    /// close_notify (rustls issue 959, and
    /// `tls_bad::what_is_no_record_in_answer_to_a_close_notify`), so nothing is
    /// changed then.
    fn is_spared(&self) -> bool {
        self.kind == Kind::Tls && self.done.finished
    }

    fn tamper(&mut self, input: &mut Input<'_>) {
        if !self.is_spared() {
            self.way.tamper(input);
        }
    }

    /// The peer, too, is spared once it has sent its close notification, and
    /// says none once it has misheard.
    fn mishear(&mut self, input: &mut Input<'_>) {
        let mut heard = Vec::new();
        let _ = self.world.read_wire(self.wire, &mut heard);
        if !heard.is_empty() && !self.peer.has_sent_close_notify() {
            let at = input.byte() as usize % heard.len();
            heard[at] ^= 1 << input.below(8);
            self.done.misheard = true;
        }
        self.peer.hear(&heard);
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
        if !self.done.misheard {
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
        let may_finish = self.kind != Kind::Tls || self.way.is_genuine();
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

    /// Everything that was said arrives, then a close notification and the end
    /// of the stream; and then the node goes.
    fn finish(&mut self) {
        self.talk_freely();
        self.peer_sends_close_notify();
        self.way.say(&self.peer.said());
        self.talk_freely();
        self.end_wire();
        self.world.faults(Faults::calm());
        for _ in 0..3 {
            self.resume();
            self.listen(Duration::from_secs(2));
        }
        let grace = Duration::from_secs(1);
        self.world.with(self.node, |_, net| net.shutdown(grace));
        self.world.run_for(Duration::from_secs(3));
    }
}
