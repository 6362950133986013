//! Rate limits in virtual time, exactly.

mod addresses;
mod excess;
mod receiving;
mod sending;
mod timeouts;

use std::error::Error;
use std::time::{Duration, Instant};

use crate::util::sessions::Xor;
use crate::util::{config_with, frame, strict};
use peerloop::config::{OnExcess, Rate, RateLimits};
use peerloop::framing::Framing;
use peerloop::sim::{self, Faults, NodeId, Wire, World};
use peerloop::{Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Transport};

const US: Duration = Duration::from_micros(1);
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Records when each message arrives.
#[derive(Default)]
struct Clocked {
    is_sealed: bool,
    accepts: usize,
    connected: Vec<ConnId>,
    received: Vec<(Instant, ConnId, Vec<u8>)>,
    ended: Vec<(Instant, ConnId, DisconnectReason)>,
    failed: Vec<ConnectError>,
}

impl Clocked {
    /// The times of the messages since the first of them.
    fn times(&self) -> Vec<Duration> {
        let begun = self.received.first().expect("a message").0;
        let times = self.received.iter().map(|(at, _, _)| *at - begun);
        times.collect()
    }

    fn reasons(&self) -> Vec<DisconnectReason> {
        self.ended.iter().map(|(_, _, reason)| *reason).collect()
    }
}

impl Handler for Clocked {
    fn on_start(&mut self, net: &mut Net) {
        net.listen(("0.0.0.0", 7000)).expect("the port is free");
    }

    fn on_accept(&mut self, _: &mut Net, _: &ConnInfo) -> peerloop::Admission {
        self.accepts += 1;
        peerloop::Admission::Admit
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(match self.is_sealed {
            true => Xor::new(info.direction).into(),
            false => Transport::Plain,
        })
    }

    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.connected.push(conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.received.push((net.now(), conn, message.to_vec()));
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.failed.push(error);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.ended.push((net.now(), conn, reason));
    }
}

fn calm() -> World {
    let mut world = World::new(1);
    world.faults(Faults::calm());
    world
}

fn rate(per_second: u32, burst: u32) -> Option<Rate> {
    Some(Rate { per_second, burst })
}

fn received_messages(per_second: u32, burst: u32) -> RateLimits {
    RateLimits {
        receive_messages: rate(per_second, burst),
        ..RateLimits::default()
    }
}

fn received_bytes(per_second: u32, burst: u32) -> RateLimits {
    RateLimits {
        receive_bytes: rate(per_second, burst),
        ..RateLimits::default()
    }
}

fn sent_messages(per_second: u32, burst: u32) -> RateLimits {
    RateLimits {
        send_messages: rate(per_second, burst),
        ..RateLimits::default()
    }
}

fn sent_bytes(per_second: u32, burst: u32) -> RateLimits {
    RateLimits {
        send_bytes: rate(per_second, burst),
        ..RateLimits::default()
    }
}

fn limited(limits: RateLimits) -> Config {
    config_with(|config| {
        *config = strict();
        config.connection.rate = limits;
    })
}

fn node(world: &mut World, config: Config) -> NodeId<Clocked> {
    let node = world.node(config, Clocked::default());
    world.run_for(MS);
    node
}

/// A raw peer of a node.
fn join(world: &mut World, node: NodeId<Clocked>) -> Wire {
    let addr = world.addr(node);
    let wire = world.wire(addr).expect("a wire");
    world.run_for(10 * MS);
    wire
}

/// One more raw peer with the same address.
fn join_beside(world: &mut World, node: NodeId<Clocked>, other: Wire) -> Wire {
    let addr = world.addr(node);
    let wire = world.wire_beside(other, addr).expect("a wire");
    world.run_for(10 * MS);
    wire
}

/// The frames of this many messages of one byte.
fn frames(messages: usize) -> Vec<u8> {
    frame(b"x").repeat(messages)
}

/// Writes all bytes, while the world runs.
fn pour(world: &mut World, wire: Wire, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match world.write_wire(wire, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => world.run_for(MS),
            Err(error) => panic!("the wire is broken: {error}"),
        }
    }
}

/// Checks the times of messages that were there at once. A turn takes a
/// microsecond, and the tokens take a turn.
#[track_caller]
fn assert_rate(times: &[Duration], messages: usize, per_second: u32, burst: usize) {
    let late = |message: usize| (message + 1).saturating_sub(burst);
    let time = |message| SECOND * u32::try_from(late(message)).expect("few") / per_second;
    let expected: Vec<Duration> = (0..messages).map(time).collect();
    let is_exact =
        |(at, expected): (&Duration, &Duration)| (*expected..*expected + 3 * US).contains(at);
    let are_exact = times.iter().zip(&expected).all(is_exact);
    assert!(
        times.len() == messages && are_exact,
        "{times:?} for {expected:?}"
    );
}

/// Connects two nodes, and returns the ids at both ends.
fn connect(world: &mut World, from: NodeId<Clocked>, to: NodeId<Clocked>) -> (ConnId, ConnId) {
    let addr = world.addr(to);
    let conn = world
        .with(from, |_, net| net.connect(addr))
        .expect("no limit is reached");
    world.run_for(100 * MS);
    let other = *world.handler(to).connected.last().expect("it is connected");
    (conn, other)
}
