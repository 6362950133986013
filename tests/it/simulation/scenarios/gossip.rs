//! Rumours: sent at once to all connections, and compared with one neighbour at
//! intervals (anti-entropy), so that a node that was cut off or down receives
//! what it has missed.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::sim::{Faults, NodeId, World, for_each_seed};
use peerloop::topology::Topology;
use peerloop::{Config, ConnId, ConnInfo, Handler, Net, TimerId, Transport};

use super::storm::{Mortal, Storm};
use crate::util::secured::Secured;
use crate::util::sessions::Manner;

const PORT: u16 = 7000;

/// The interval at which a node connects to its other neighbours and compares
/// rumours with one neighbour.
const ROUND: Duration = Duration::from_millis(500);

/// The first byte of a message. A rumour follows with its number first, or the
/// numbers of all rumours of the sender.
const RUMOUR: u8 = b'r';
const KNOWN: u8 = b'k';

/// The same numbers as an answer, which is not answered by one again.
const KNOWN_TOO: u8 = b't';

struct Gossip {
    secured: Secured,
    neighbours: Vec<SocketAddr>,
    /// Rumours by number; kept on disk.
    rumours: BTreeMap<u64, Vec<u8>>,
    round: usize,
}

impl Gossip {
    fn new(secured: Secured, neighbours: Vec<SocketAddr>) -> Self {
        Self {
            secured,
            neighbours,
            rumours: BTreeMap::new(),
            round: 0,
        }
    }

    /// Keeps a rumour, and sends it to all connections except its source.
    fn learn(&mut self, net: &mut Net, from: Option<ConnId>, number: u64, text: &[u8]) {
        if self.rumours.contains_key(&number) {
            return;
        }
        self.rumours.insert(number, text.to_vec());
        // A connection without room gets it in a later round.
        let _ = net.broadcast_all(rumour(number, text), from);
    }

    fn known(&self, kind: u8) -> Vec<u8> {
        let numbers = self.rumours.keys().flat_map(|number| number.to_be_bytes());
        std::iter::once(kind).chain(numbers).collect()
    }

    /// Compares with the rumours of a neighbour: sends the missing ones, and
    /// asks for the rumours that this node lacks.
    fn compare(&self, net: &mut Net, conn: ConnId, kind: u8, theirs: &[u64]) {
        for (number, text) in &self.rumours {
            if theirs.binary_search(number).is_err() {
                let _ = net.send(conn, rumour(*number, text));
            }
        }
        let lacks = theirs.iter().any(|it| !self.rumours.contains_key(it));
        if lacks && kind == KNOWN {
            let _ = net.send(conn, self.known(KNOWN_TOO));
        }
    }
}

fn rumour(number: u64, text: &[u8]) -> Vec<u8> {
    [&[RUMOUR], &number.to_be_bytes()[..], text].concat()
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    let number = |eight: &[u8]| {
        eight
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    bytes.chunks_exact(8).map(number).collect()
}

fn listen(net: &mut Net) {
    net.listen(SocketAddr::from(([0, 0, 0, 0], PORT)))
        .expect("the port is free");
}

impl Handler for Gossip {
    fn on_start(&mut self, net: &mut Net) {
        listen(net);
        net.set_timer(Duration::ZERO, 0);
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(self.secured.transport(info.direction, Manner::Agrees))
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        match message.split_first() {
            Some((&RUMOUR, rest)) => match rest.split_first_chunk() {
                Some((number, text)) => {
                    self.learn(net, Some(conn), u64::from_be_bytes(*number), text);
                }
                None => net.abort(conn),
            },
            Some((&kind @ (KNOWN | KNOWN_TOO), rest)) => {
                self.compare(net, conn, kind, &numbers(rest));
            }
            _ => net.abort(conn),
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        for addr in &self.neighbours {
            // A neighbour that is connected already is refused as a duplicate.
            let _ = net.connect(*addr);
        }
        if net.connection_count() > 0 {
            self.round = (self.round + 1) % net.connection_count();
            let one = net.connections().nth(self.round).map(|it| it.id());
            if let Some(one) = one {
                let _ = net.send(one, self.known(KNOWN));
            }
        }
        net.set_timer(ROUND, 0);
    }
}

impl Mortal for Gossip {
    fn reborn(self) -> Self {
        Self { round: 0, ..self }
    }
}

/// Nodes that are connected in a ring, and with random neighbours that shorten
/// the paths.
fn populate(
    world: &mut World,
    count: usize,
    degree: usize,
    secured: Secured,
) -> Vec<NodeId<Gossip>> {
    let seed = world.seed();
    let chords = Topology::Random { degree, seed };
    let [ring, chords] = [Topology::Ring, chords].map(|it| it.edges(count));
    let edges = [ring.expect("enough nodes"), chords.expect("enough nodes")].concat();
    let nodes: Vec<NodeId<Gossip>> = (0..count)
        .map(|_| world.node(Config::default(), Gossip::new(secured, Vec::new())))
        .collect();
    for (from, to) in edges {
        let addr = SocketAddr::new(world.ip(nodes[to]), PORT);
        world.with(nodes[from], |it, _| it.neighbours.push(addr));
    }
    nodes
}

/// Tells a rumour to one node.
fn tell(world: &mut World, node: NodeId<Gossip>, number: u64) {
    let text = format!("rumour {number}");
    world.with(node, |it, net| {
        it.learn(net, None, number, text.as_bytes());
    });
}

fn count(world: &World, node: NodeId<Gossip>) -> usize {
    world.handler(node).rumours.len()
}

/// Rumours spread while nodes crash and the network is partitioned. After the
/// end of all faults every node has every rumour. Returns the world.
fn rumours_survive(seed: u64, secured: Secured) -> World {
    const RUMOURS: u64 = 30;

    let mut world = World::new(seed);
    world.keep_trace();
    let mut random = world.random();
    let size = random.between(3, 8) as usize;
    let nodes = populate(&mut world, size, 1, secured);
    let mut storm = Storm::new(&mut world, &nodes);
    for number in 0..RUMOURS {
        storm.strike(&mut world);
        let up = storm.up();
        let chosen = random.below(up.len() as u64) as usize;
        tell(&mut world, up[chosen], number);
        world.run_for(storm.pause());
    }
    storm.end(&mut world);
    world
        .run_until(Duration::from_secs(300), |world| {
            nodes
                .iter()
                .all(|node| count(world, *node) == RUMOURS as usize)
        })
        .expect("all rumours arrive");
    for node in nodes {
        for (number, text) in &world.handler(node).rumours {
            assert_eq!(*text, format!("rumour {number}").into_bytes());
        }
    }
    world
}

#[test]
fn rumours_arrive_through_partitions() {
    let mut crashes = 0;
    let mut seeds = 0;
    for_each_seed(10, |seed| {
        let world = rumours_survive(seed, Secured::of_seed(seed));
        crashes += world.fault_counts().crashes;
        seeds += 1;
    });
    assert!(crashes > seeds || seeds < 10, "{crashes} crashes");
}

#[test]
fn same_seed_gives_the_same_run() {
    // The first seed of each kind with crashes and losses.
    for secured in Secured::ALL.iter().copied() {
        let eventful = |(_, world): &(u64, World)| {
            let happened = world.fault_counts();
            happened.crashes > 1 && happened.resets > 0 && happened.held > 0
        };
        let mut runs = (0..100).map(|seed| (seed, rumours_survive(seed, secured)));
        let (seed, first) = runs.find(eventful).expect("an eventful seed");
        let second = rumours_survive(seed, secured);
        assert!(first.trace().len() > 1_000, "much has happened");
        assert_eq!(first.trace().hash(), second.trace().hash(), "seed {seed}");
        assert!(
            first.trace().to_string() == second.trace().to_string(),
            "the lines differ, with the seed {seed}"
        );
        assert_eq!(first.steps(), second.steps());
    }
}

#[test]
fn rumour_reaches_a_thousand_nodes() {
    let mut world = World::new(1);
    world.faults(Faults::calm());
    let nodes = populate(&mut world, 1_000, 2, Secured::No);
    world.run_for(Duration::from_secs(1));
    (0..5).for_each(|number| tell(&mut world, nodes[number as usize * 100], number));
    world
        .run_until(Duration::from_secs(10), |world| {
            nodes.iter().all(|node| count(world, *node) == 5)
        })
        .expect("all rumours arrive");
}
