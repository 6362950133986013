//! Nodes that connect to each other at the same time, several times, in both
//! directions. In virtual time: each pair is left with one connection, the same at
//! both ends.

#![allow(unreachable_pub, reason = "a module of several tests")]

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::hello::{Hello, Peers, TieBreak};
use peerloop::sim::{Faults, NodeId, Random, World};
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, Direction, DisconnectReason, Handler, Net, TimerId,
    Transport,
};

use super::strict;

const SECOND: Duration = Duration::from_secs(1);
const PORT: u16 = 7000;

/// The key of the timer of a [`Member`] that connects to all peers that it lacks.
const KEEP: u64 = u64::MAX;

/// Another node.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub id: [u8; 32],
    pub addr: SocketAddr,
}

pub struct Member {
    pub peers: Peers,
    /// Addresses to connect to, by the key of the timer.
    pub targets: Vec<Target>,
    pub ties: Vec<TieBreak>,
    pub ended: Vec<DisconnectReason>,
    pub failed: Vec<ConnectError>,
    /// Connects again after this time, when it has no connection.
    pub keeps: Option<Duration>,
    pub received: usize,
}

impl Member {
    pub fn new(id: [u8; 32], nonce: u64) -> Self {
        Self {
            peers: Peers::new(Hello::new(*b"test", id, nonce)),
            targets: Vec::new(),
            ties: Vec::new(),
            ended: Vec::new(),
            failed: Vec::new(),
            keeps: None,
            received: 0,
        }
    }

    /// Connects, also if there is a connection.
    pub fn connect(net: &mut Net, addr: SocketAddr) {
        let mut options = net.connect_options();
        options.allow_duplicate = true;
        net.connect_with(addr, options).expect("within the limits");
    }

    fn lacks(&self, target: &Target) -> bool {
        self.peers.find(&target.id).is_none()
    }
}

impl Handler for Member {
    fn on_start(&mut self, net: &mut Net) {
        net.listen(("0.0.0.0", PORT)).expect("the port is free");
        if let Some(period) = self.keeps {
            net.set_interval(period, KEEP);
        }
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(self.peers.session().into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let tie = self.peers.connected(net, conn);
        assert_ne!(tie, TieBreak::NoHello);
        self.ties.push(tie);
    }

    fn on_message(&mut self, _: &mut Net, conn: ConnId, _: &[u8]) {
        assert!(self.peers.node_of(conn).is_some());
        self.received += 1;
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        _: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        self.failed.push(error);
        let target = self
            .targets
            .iter()
            .position(|target| target.addr == info.addr);
        let target = target.filter(|index| self.lacks(&self.targets[*index]));
        if let (Some(index), Direction::Outbound, None) = (target, info.direction, self.keeps) {
            net.set_timer(SECOND, index as u64);
        }
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.peers.disconnected(conn);
        self.ended.push(reason);
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, key: u64) {
        if key == KEEP {
            for target in &self.targets {
                if self.lacks(target) && net.find(target.addr).is_none() {
                    Self::connect(net, target.addr);
                }
            }
        } else if let Some(target) = self.targets.get(key as usize) {
            Self::connect(net, target.addr);
        }
    }
}

pub type Ids = Vec<(NodeId<Member>, [u8; 32])>;

/// Adds nodes with random ids that know each other.
pub fn members(
    world: &mut World,
    random: &mut Random,
    count: u64,
    config: &Config,
    keeps: Option<Duration>,
) -> Ids {
    let nodes: Ids = (0..count)
        .map(|_| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&random.next_u64().to_be_bytes());
            let member = Member {
                keeps,
                ..Member::new(id, random.next_u64())
            };
            (world.node(config.clone(), member), id)
        })
        .collect();
    for (node, _) in &nodes {
        let targets = targets(world, &nodes, *node);
        world.with(*node, |member, _| member.targets = targets);
    }
    nodes
}

/// The other nodes.
pub fn targets(world: &World, nodes: &Ids, node: NodeId<Member>) -> Vec<Target> {
    let others = nodes.iter().filter(|(other, _)| *other != node);
    let target = |(other, id): &(NodeId<Member>, [u8; 32])| Target {
        id: *id,
        addr: SocketAddr::new(world.ip(*other), PORT),
    };
    others.map(target).collect()
}

/// Asserts that each two nodes have one connection, and both ends the same one.
#[track_caller]
pub fn assert_one_each(world: &World, nodes: &Ids) {
    for (node, _) in nodes {
        let net = world.net(*node);
        let counts = (net.connection_count(), net.connecting_count());
        let all = nodes.iter().map(|(node, _)| {
            let member = world.handler(*node);
            (&member.ties, &member.ended, &member.failed)
        });
        let all = all.collect::<Vec<_>>();
        assert_eq!(counts, (nodes.len() - 1, 0), "{node:?} of {all:#?}");
        assert_eq!(world.handler(*node).peers.len(), nodes.len() - 1);
    }
    for (index, (a, id_of_a)) in nodes.iter().enumerate() {
        for (b, id_of_b) in &nodes[..index] {
            let [at_a, at_b] = [(a, id_of_b), (b, id_of_a)].map(|(node, other)| {
                let conn = world.handler(*node).peers.find(other);
                let view = conn.and_then(|conn| world.net(*node).connection(conn));
                view.expect("a connection").info()
            });
            assert_eq!(Some(at_a.addr), at_b.local_addr, "{a:?} and {b:?}");
            assert_eq!(at_a.local_addr, Some(at_b.addr), "{a:?} and {b:?}");
        }
    }
}

/// One world from this seed.
pub fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(seed);
    world.faults(Faults::drawn(seed).lossless());
    let mut config = strict();
    let timeouts = &mut config.connection.timeouts;
    (timeouts.handshake, timeouts.idle) = (None, None);
    let count = random.between(2, 4);
    let nodes = members(&mut world, &mut random, count, &config, None);
    // With an even seed all connect at the same moment.
    let spread = if seed % 2 == 0 { 1 } else { 5_000 };
    for (node, _) in &nodes {
        for target in 0..count - 1 {
            for _ in 0..random.between(1, 3) {
                let after = Duration::from_micros(random.below(spread));
                world.with(*node, |_, net| net.set_timer(after, target));
            }
        }
    }
    world.run_for(60 * SECOND);
    assert_one_each(&world, &nodes);
}
