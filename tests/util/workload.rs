//! Random workloads over most verbs and all built-in framings, with and without sessions, through crashes and
//! partitions, in worlds of every regime. The worlds check what the library promises after every turn; the handlers here
//! check what was said.

#![allow(unreachable_pub, reason = "a module of several tests")]

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::session::Session;
use peerloop::sim::{Faults, Link, NodeId, Random, World};
use peerloop::{
    ByteOrder, Bytes, Config, ConnId, ConnMap, DisconnectReason, Framing, HalfOpen, Handler,
    LengthPrefix, ListenOptions, Net, Overflow, Permission, Phase, SendOutcome, Side, Timeouts,
    TimerId,
};

use super::sessions::{Greeting, Manner, Xor};

/// The length of messages where every one has the same.
const FIXED: usize = 24;

const PORT: u16 = 7000;

/// What both directions of a connection have said.
#[derive(Default)]
struct Talk {
    /// Messages, or for raw bytes those, sent and heard.
    sent: u64,
    heard: u64,
    /// Tokens of tracked sends that are not answered.
    tracked: Vec<u64>,
}

/// Does at random whatever a handler may do, and knows what it has to hear.
struct Chatter {
    random: Random,
    kind: Kind,
    others: Vec<SocketAddr>,
    talks: ConnMap<Talk>,
    next_token: u64,
    /// What all connections of this world begin with.
    secured: Secured,
    /// Whether it still begins anything.
    active: bool,
    messages: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Secured {
    No,
    /// A handshake, and plain TCP after it.
    Greeting,
    /// Records from end to end.
    Xor,
}

impl Secured {
    fn drawn(random: &mut Random) -> Self {
        match random.below(4) {
            0 => Self::Greeting,
            1 => Self::Xor,
            _ => Self::No,
        }
    }

    fn session(self, side: Side) -> Option<Box<dyn Session>> {
        match self {
            Self::No => None,
            Self::Greeting => Some(Box::new(Greeting::new(Manner::Agrees))),
            Self::Xor => Some(Box::new(Xor::new(side))),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Length(LengthPrefix),
    Raw,
    Fixed,
    Lines,
}

impl Kind {
    fn drawn(random: &mut Random) -> Self {
        match random.below(10) {
            0 | 1 => Self::Raw,
            2 => Self::Fixed,
            3 => Self::Lines,
            4 => Self::Length(LengthPrefix::Varint),
            5 => Self::Length(LengthPrefix::Two(ByteOrder::LittleEndian)),
            6 => Self::Length(LengthPrefix::Eight(ByteOrder::BigEndian)),
            _ => Self::Length(LengthPrefix::Four(ByteOrder::BigEndian)),
        }
    }

    fn framing(self) -> Framing {
        match self {
            Self::Length(prefix) => Framing::LengthDelimited(prefix),
            Self::Raw => Framing::Raw,
            Self::Fixed => Framing::Fixed(FIXED),
            Self::Lines => Framing::Delimited(b'\n'),
        }
    }
}

/// The byte at this place of a message, or of a raw stream. Never a line's end.
fn byte(message: u64, place: u64) -> u8 {
    b'a' + ((message.wrapping_mul(7) + place.wrapping_mul(11)) % 26) as u8
}

impl Chatter {
    /// The next message of a connection, with its number at the front unless the bytes have no boundaries.
    fn compose(&mut self, conn: ConnId) -> Option<Vec<u8>> {
        let sent = self.talks.get(conn)?.sent;
        let extra = match self.random.below(20) {
            0 => 1 + self.random.below(30_000),
            1..=4 => self.random.below(2_000),
            _ => self.random.below(40),
        };
        let number = format!("{sent:08x}").into_bytes();
        Some(match self.kind {
            Kind::Raw => (sent..=sent + extra).map(|place| byte(0, place)).collect(),
            _ => {
                let fixed = (FIXED - number.len()) as u64;
                let extra = if self.kind == Kind::Fixed {
                    fixed
                } else {
                    extra
                };
                let filler = (0..extra).map(|place| byte(sent, place));
                number.into_iter().chain(filler).collect()
            }
        })
    }

    fn check(&mut self, conn: ConnId, message: &[u8]) {
        let talk = self.talks.get_mut(conn).expect("it is connected");
        if self.kind == Kind::Raw {
            for got in message {
                assert_eq!(*got, byte(0, talk.heard), "the byte at {}", talk.heard);
                talk.heard += 1;
            }
            return;
        }
        let (number, filler) = message.split_at(8);
        let expected = format!("{:08x}", talk.heard);
        assert_eq!(number, expected.as_bytes(), "messages come in order");
        for (place, got) in filler.iter().enumerate() {
            assert_eq!(*got, byte(talk.heard, place as u64), "the byte at {place}");
        }
        talk.heard += 1;
    }

    fn send(&mut self, net: &mut Net, conn: ConnId) {
        let Some(body) = self.compose(conn) else {
            return;
        };
        let len = body.len() as u64;
        let result = match self.random.below(4) {
            0 => net.send_bytes(conn, Bytes::from(body)),
            1 => {
                let (front, back) = body.split_at(body.len() / 3);
                net.send_parts(conn, &[IoSlice::new(front), IoSlice::new(back)])
            }
            2 => {
                self.next_token += 1;
                let result = net.send_tracked(conn, &body, self.next_token);
                if result.is_ok() {
                    let talk = self.talks.get_mut(conn).expect("it is connected");
                    talk.tracked.push(self.next_token);
                }
                result
            }
            _ => net.send(conn, &body),
        };
        if result.is_ok() {
            let talk = self.talks.get_mut(conn).expect("it is connected");
            talk.sent += if self.kind == Kind::Raw { len } else { 1 };
        }
    }

    fn pick(&mut self) -> Option<ConnId> {
        let all: Vec<ConnId> = self.talks.keys().collect();
        let chosen = self.random.below(all.len() as u64) as usize;
        all.get(chosen).copied()
    }

    /// One thing of all that a handler may do.
    fn act(&mut self, net: &mut Net) {
        let what = self.random.below(100);
        if what < 15 {
            let other = self.others[self.random.below(self.others.len() as u64) as usize];
            let _ = net.connect(other);
            return;
        }
        let Some(conn) = self.pick() else { return };
        match what {
            15..70 => {
                for _ in 0..=self.random.below(5) {
                    self.send(net, conn);
                }
            }
            70..76 => net.pause(conn),
            76..86 => net.resume(conn),
            86..90 => net.flush(conn),
            90..92 => net.close(conn),
            92 => net.abort(conn),
            93..95 => net.shutdown_write(conn),
            95 => {
                net.unlisten(listen_addr()).expect("it listens");
                listen(net);
            }
            96 => {
                let timer = net.set_timer(Duration::from_millis(3), 0);
                assert_eq!(net.cancel_timer(timer), Some(0));
            }
            97 => assert!(net.is_writable(conn) || net.queued(conn) < usize::MAX),
            _ => {
                let all: Vec<ConnId> = net.connecting().collect();
                all.into_iter().for_each(|dial| net.close(dial));
            }
        }
    }

    fn rearm(&mut self, net: &mut Net) {
        let after = Duration::from_micros(self.random.between(1, 20_000));
        net.set_timer(after, 1);
    }
}

fn listen_addr() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], PORT))
}

fn listen(net: &mut Net) {
    let options = ListenOptions {
        backlog: 3,
        ..ListenOptions::default()
    };
    net.listen_with(listen_addr(), options)
        .expect("the port is free");
}

impl Handler for Chatter {
    fn on_start(&mut self, net: &mut Net) {
        listen(net);
        self.rearm(net);
    }

    fn session(&mut self, net: &mut Net, conn: ConnId) -> io::Result<Option<Box<dyn Session>>> {
        let side = net.peer(conn).expect("it is asked for it").side();
        Ok(self.secured.session(side))
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.talks.insert(conn, Talk::default());
        if self.random.chance(0.7) {
            self.send(net, conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.messages += 1;
        self.check(conn, message);
        if self.active && self.random.chance(0.3) {
            self.act(net);
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        // Not always: with a high watermark of a few bytes, each message brings the next drain.
        if self.active && self.random.chance(0.5) {
            self.send(net, conn);
        }
    }

    fn on_sent(&mut self, _: &mut Net, conn: ConnId, token: u64, _: SendOutcome) {
        let talk = self.talks.get_mut(conn).expect("it is connected");
        assert_eq!(talk.tracked.remove(0), token, "answers come in order");
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
        let talk = self.talks.remove(conn).expect("it was connected");
        assert!(talk.tracked.is_empty(), "every tracked send was answered");
        if self.active && self.random.chance(0.2) {
            self.act(net);
        }
    }

    fn on_finished(&mut self, net: &mut Net, conn: ConnId) {
        if self.random.chance(0.5) {
            net.close(conn);
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        if self.active {
            self.act(net);
            self.rearm(net);
        }
    }
}

/// Settings that are reached often.
fn config(random: &mut Random, kind: Kind) -> Config {
    let mut pick = |low, high| random.between(low, high) as usize;
    let (queue_high, budget) = (pick(1, 20_000), pick(1, 5_000));
    let queue_max = queue_high + pick(0, 60_000);
    let defaults = Config::default();
    let mut config = Config {
        framing: kind.framing(),
        max_frame: 40_000,
        queue_low: pick(0, queue_high as u64),
        queue_high,
        queue_max,
        loop_queue_max: queue_max + pick(0, 100_000),
        read_buffer: 4096 + pick(0, 8192),
        accept_budget: pick(1, 4),
        max_connections: pick(4, 40),
        max_connections_per_ip: pick(2, 10),
        // A panic is a failed test.
        panics: peerloop::Panics::Unwind,
        ..defaults
    };
    if random.chance(0.5) {
        (config.read_budget, config.write_budget) = (budget, budget);
    }
    if random.chance(0.5) {
        config.half_open = HalfOpen::Allowed;
    }
    if random.chance(0.3) {
        config.overflow = Overflow::Close;
    }
    if random.chance(0.3) {
        config.duplicates = Permission::Allowed;
    }
    let mut time = |most| Some(Duration::from_millis(random.between(200, most)));
    config.timeouts = Timeouts {
        connect: time(5_000),
        handshake: time(5_000),
        idle: time(10_000),
        partial_frame: time(10_000),
        write_stall: time(5_000),
        linger: time(5_000),
    };
    config
}

fn chatter(
    random: &mut Random,
    (kind, secured): (Kind, Secured),
    others: &[SocketAddr],
) -> Chatter {
    Chatter {
        random: Random::new(random.next_u64()),
        kind,
        secured,
        others: others.to_vec(),
        talks: ConnMap::new(),
        next_token: 0,
        active: true,
        messages: 0,
    }
}

/// What the network and the machines go through.
fn disturb(
    world: &mut World,
    random: &mut Random,
    nodes: &[NodeId<Chatter>],
    kind: (Kind, Secured),
) {
    let [a, b] = [0; 2].map(|_| nodes[random.below(nodes.len() as u64) as usize]);
    let others: Vec<SocketAddr> = nodes
        .iter()
        .map(|node| SocketAddr::new(world.ip(*node), PORT))
        .collect();
    match random.below(8) {
        0 if world.is_up(a) => drop(world.crash(a)),
        1 | 2 if !world.is_up(a) => {
            let handler = chatter(random, kind, &others);
            world.restart(a, handler);
        }
        3 if a != b => world.partition(a, b),
        4 => world.heal(a, b),
        5 => {
            let latency = Duration::from_micros(random.between(1, 50_000));
            let link = Link::new(latency).jitter(Duration::from_millis(random.below(20)));
            world.link(a, b, link);
        }
        6 => world.link(
            a,
            b,
            Link::default().bandwidth(random.between(10_000, 10_000_000)),
        ),
        _ => {}
    }
}

/// One world from this seed, to its end; how many messages were heard.
pub fn run(seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let kind = (Kind::drawn(&mut random), Secured::drawn(&mut random));
    let mut world = World::new(seed);
    let count = random.between(2, 6);
    let addresses: Vec<SocketAddr> = (1..=count)
        .map(|last| SocketAddr::from(([10, 0, 0, last as u8], PORT)))
        .collect();
    let nodes: Vec<NodeId<Chatter>> = (0..count)
        .map(|_| {
            let config = config(&mut random, kind.0);
            world.node(config, chatter(&mut random, kind, &addresses))
        })
        .collect();
    let disturbed = random.chance(0.6);
    for _ in 0..20 {
        world.run_for(Duration::from_millis(random.between(1, 400)));
        if disturbed {
            disturb(&mut world, &mut random, &nodes, kind);
        }
    }
    settle(&mut world, &nodes)
}

/// A peer that sends a byte of one long message now and then, and nothing whole: it is idle, and ends as that. In virtual
/// time, so exactly.
pub fn drip(seed: u64) {
    const IDLE: Duration = Duration::from_secs(2);

    struct Silent(Option<DisconnectReason>);
    impl Handler for Silent {
        fn on_start(&mut self, net: &mut Net) {
            listen(net);
        }
        fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
        fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
            self.0 = Some(reason);
        }
    }
    let mut world = World::new(seed);
    world.faults(Faults::calm());
    let timeouts = Timeouts {
        idle: Some(IDLE),
        partial_frame: None,
        ..Timeouts::default()
    };
    let config = Config {
        timeouts,
        ..Config::default()
    };
    let node = world.node(config, Silent(None));
    world.run_for(Duration::from_millis(1));
    let addr = world.addr(node);
    let wire = world.wire(addr).expect("a wire");
    world.run_for(Duration::from_millis(100));
    let every = Duration::from_millis(50 + seed % 500);
    let begun = world.now();
    // The header of a message of 1,000 bytes, and its beginning.
    let mut drops = [0, 0, 3, 232].into_iter().chain(std::iter::repeat(b'x'));
    while world.now() < begun + 2 * IDLE {
        let drop = drops.next().expect("there is no end");
        // It is refused when the node has hung up.
        let _ = world.write_wire(wire, &[drop]);
        world.run_for(every);
    }
    let ended = world.with(node, |it, _| it.0);
    assert_eq!(ended, Some(DisconnectReason::Timeout(Phase::Idle)));
}

/// Nobody begins anything any more, and nothing unusual happens: everybody comes to an end. How many messages were
/// heard.
fn settle(world: &mut World, nodes: &[NodeId<Chatter>]) -> u64 {
    world.faults(Faults::calm());
    world.heal_all();
    let up: Vec<NodeId<Chatter>> = nodes
        .iter()
        .copied()
        .filter(|node| world.is_up(*node))
        .collect();
    for node in &up {
        world.with(*node, |it, net| {
            it.active = false;
            let all: Vec<ConnId> = net.connections().collect();
            all.into_iter().for_each(|conn| net.resume(conn));
        });
    }
    world.run_for(Duration::from_secs(2));
    let mut messages = 0;
    for node in &up {
        messages += world.with(*node, |it, net| {
            net.shutdown(Duration::from_secs(20));
            it.messages
        });
    }
    world
        .run_until(Duration::from_secs(30), |world| {
            up.iter()
                .all(|node| world.with(*node, |it, _| it.talks.is_empty()))
        })
        .expect("everybody comes to an end");
    messages
}
