//! The simulator, and what is tested in simulated worlds.

mod alive;
mod changes;
mod clocks;
mod datagram_flood;
mod datagrams;
mod floods;
mod grace;
mod hello;
mod hosts;
mod idle;
mod kernel;
mod long_turns;
mod memory;
mod network;
mod partitions;
mod places;
mod promises;
mod rates;
mod reconnect;
mod requests;
mod scenarios;
mod seeds;
mod session_timers;
mod slow_links;
mod slow_readers;
mod wires;
mod workload;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use peerloop::config::{ConnectionConfig, Timeouts};
use peerloop::sim::{self, Faults, Link, NodeId, Random, Selector, Wire, World, for_each_seed};
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, ConnectOptions, DisconnectReason, Handler, Net,
    SendError, TimerId,
};

use crate::util::settings::SEEDS;
use crate::util::strict;

const US: Duration = Duration::from_micros(1);
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Listens, answers and pauses as its fields say, and records its callbacks.
#[derive(Default)]
struct Plain {
    listens: bool,
    echoes: bool,
    paused: bool,
    connected: Vec<ConnId>,
    received: Vec<Vec<u8>>,
    failed: Vec<ConnectError>,
    ended: Vec<DisconnectReason>,
    timers: Vec<u64>,
}

impl Plain {
    fn server() -> Self {
        Self {
            listens: true,
            echoes: true,
            ..Self::default()
        }
    }

    fn sink() -> Self {
        Self {
            listens: true,
            ..Self::default()
        }
    }
}

impl Handler for Plain {
    fn on_start(&mut self, net: &mut Net) {
        if self.listens {
            net.listen("0.0.0.0:7000".parse::<SocketAddr>().expect("an address"))
                .expect("the port is free");
        }
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.connected.push(conn);
        if self.paused {
            net.pause(conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.received.push(message.to_vec());
        if self.echoes {
            let _ = net.send(conn, message);
        }
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.failed.push(error);
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.ended.push(reason);
    }

    fn on_timer(&mut self, _: &mut Net, _: TimerId, key: u64) {
        self.timers.push(key);
    }
}

fn calm(seed: u64) -> World {
    let mut world = World::new(seed);
    world.faults(Faults::calm());
    world
}

/// A server and a client, which are not connected yet.
fn pair(world: &mut World) -> (NodeId<Plain>, NodeId<Plain>) {
    let server = world.node(Config::default(), Plain::server());
    let client = world.node(Config::default(), Plain::default());
    world.run_for(Duration::from_millis(1));
    (server, client)
}

/// Begins to connect.
#[track_caller]
fn begin(world: &mut World, from: NodeId<Plain>, to: SocketAddr) -> ConnId {
    let conn = world.with(from, |_, net| net.connect(to));
    conn.expect("no limit is reached")
}

#[track_caller]
fn send(world: &mut World, from: NodeId<Plain>, conn: ConnId, message: &[u8]) {
    let sent = world.with(from, |_, net| net.send(conn, message));
    sent.expect("the queue has room");
}

/// Runs the world until the handler of a node meets a condition.
#[track_caller]
fn until(world: &mut World, node: NodeId<Plain>, condition: impl Fn(&Plain) -> bool) {
    let met = world.run_until(10 * MINUTE, |world| condition(world.handler(node)));
    met.expect("the condition becomes true");
}

/// Connects, and waits for `on_connect` at both ends.
fn connect(world: &mut World, from: NodeId<Plain>, to: NodeId<Plain>) -> ConnId {
    let addr = world.addr(to);
    let before = world.with(to, |it, _| it.connected.len());
    let conn = world
        .with(from, |_, net| net.connect(addr))
        .expect("nothing forbids it");
    world
        .run_until(MINUTE, |world| {
            world.with(from, |it, _| it.connected.contains(&conn))
                && world.with(to, |it, _| it.connected.len() > before)
        })
        .expect("they connect");
    conn
}

/// Returns faults of the seed that lose nothing, so that all bytes arrive.
fn lossless(seed: u64) -> Faults {
    if seed % 2 == 0 {
        Faults::hostile().lossless()
    } else {
        Faults::drawn(seed).lossless()
    }
}

/// Every link has it.
const LATENCY: Duration = MS;

fn with_timeouts(change: impl FnOnce(&mut Timeouts)) -> Config {
    let mut connection = ConnectionConfig::default();
    change(&mut connection.timeouts);
    Config {
        connection,
        ..strict()
    }
}

fn listen(net: &mut Net) {
    let addr = SocketAddr::from(([0, 0, 0, 0], 7000));
    net.listen(addr).expect("the port is free");
}

/// Answers after a time that depends on the message.
struct Slow(fn(&[u8]) -> Duration);

impl Handler for Slow {
    fn on_start(&mut self, net: &mut Net) {
        listen(net);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let (now, spent) = (net.now(), sim::spent());
        let time = (self.0)(message);
        sim::spend(time);
        assert_eq!(net.now(), now, "the time of a turn is its beginning");
        assert_eq!(sim::spent(), spent + time);
        net.send(conn, message).expect("there is room");
    }
}

/// Asks, and notes how long each answer took.
#[derive(Default)]
struct Asks {
    conn: Option<ConnId>,
    asked: Vec<Instant>,
    took: Vec<Duration>,
}

impl Asks {
    fn ask(&mut self, net: &mut Net, question: &[u8]) {
        let conn = self.conn.expect("it is connected");
        self.asked.push(net.now());
        net.send(conn, question).expect("there is room");
    }
}

impl Handler for Asks {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.conn = Some(conn);
    }

    fn on_message(&mut self, net: &mut Net, _: ConnId, _: &[u8]) {
        let asked = self.asked[self.took.len()];
        self.took.push(net.now() - asked);
    }
}

/// A client of this server, connected.
fn client_of(world: &mut World, server: NodeId<Slow>) -> NodeId<Asks> {
    let client = world.node(strict(), Asks::default());
    let addr = world.addr(server);
    world
        .with(client, |_, net| net.connect(addr))
        .expect("no limit is reached");
    world.run_for(10 * MS);
    client
}
