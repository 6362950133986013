//! The nodes of `main.rs` in the simulator: datagrams are lost, nodes crash, the
//! network is cut into halves and heals, and then all values are found. The
//! arguments are seeds.
//!
//! ```text
//! cargo run --release --features sim --example kademlia_dht_simulated
//! cargo run --release --features sim --example kademlia_dht_simulated -- 7 8
//! ```

mod dht;
mod routing;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::ValueExt;
use peerloop::config::OnPanic;
use peerloop::sim::{Faults, Link, NodeId, Random, World};
use peerloop::{Config, Net};

use dht::Dht;
use routing::Lookup;
use support::Arguments;
use wire::Id;

const SEEDS: &[u64] = &[1, 2, 3];
const NODES: usize = 250;
const VALUES: u32 = 50;
const PORT: u16 = 7000;

/// How often a node joins, how long a phase takes, and how long a lookup may take.
const JOINS_EVERY: Duration = Duration::from_millis(200);
const PHASE: Duration = Duration::from_secs(180);
const PATIENCE: Duration = Duration::from_secs(60);

const HEAD: &str = "one of ten datagrams is lost
    time  phase                       found   hops  requests  time";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Swarm {
    world: World,
    random: Random,
    nodes: Vec<NodeId<Dht>>,
    keys: Vec<Id>,
}

impl Swarm {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let mut faults = Faults::calm();
        (faults.lost_datagram, faults.duplicated_datagram) = (0.1, 0.1);
        (faults.reordered_datagram, faults.port_unreachable) = (0.2, 0.5);
        world.faults(faults);
        world.default_link(Link::new(Duration::from_millis(40)).jitter(Duration::from_millis(40)));
        let (random, nodes, keys) = (world.random(), Vec::new(), Vec::new());
        Self {
            world,
            random,
            nodes,
            keys,
        }
    }

    fn draw_node(&mut self) -> Option<NodeId<Dht>> {
        let is_up = |node: &&NodeId<Dht>| self.world.is_up(**node);
        let up: Vec<_> = self.nodes.iter().filter(is_up).collect();
        up.get(self.random.below(up.len() as u64) as usize)
            .map(|node| **node)
    }

    /// Starts a new node or a crashed one. It joins through another one.
    fn start(&mut self, crashed: Option<NodeId<Dht>>) -> Result<NodeId<Dht>> {
        let addr = |world: &World, node| SocketAddr::new(world.ip(node), PORT);
        let known = self.draw_node().map(|node| {
            let id = self.world.handler(node).table.own;
            (id, addr(&self.world, node))
        });
        let mut random = self.world.random();
        let random = Box::new(move || random.next_u64());
        let dht = Dht::new(known.into_iter().collect(), random);
        let node = if let Some(node) = crashed {
            self.world.restart(node, dht); // It has another id, and no values.
            node
        } else {
            // A failed assertion in a callback ends the run.
            let config = Config {
                on_panic: OnPanic::Unwind,
                ..Config::default()
            };
            self.world.node(config, dht)
        };
        let addr = addr(&self.world, node);
        self.world.with(node, |dht, net| dht.bind(net, addr))?;
        Ok(node)
    }

    /// Begins a lookup at some node, and waits until it is over.
    fn look_up(&mut self, begin: impl FnOnce(&mut Dht, &mut Net) -> u64) -> Result<Lookup> {
        let node = self.draw_node().ok_or("no node is up")?;
        let number = self.world.with(node, begin);
        let is_over = |world: &mut World| world.handler(node).finished.contains_key(&number);
        self.world.run_until(PATIENCE, is_over)?;
        let lookup = self.world.with(node, |dht, _| dht.finished.remove(&number));
        lookup.ok_or_else(|| "no lookup".into())
    }

    fn store(&mut self) -> Result<()> {
        for _ in 0..VALUES {
            let key = Id::from(self.random.next_u64()) << 64;
            let lookup = self.look_up(|dht, net| dht.store(net, key, &key.to_string()))?;
            if lookup.copies() == 0 {
                return Err("no node has stored a value".into());
            }
            self.keys.push(key);
        }
        Ok(())
    }

    /// Looks for each value from some node. Returns how many were found.
    fn find(&mut self, out: &mut impl Write, when: &str) -> Result<u32> {
        let (mut found, mut hops, mut requests, begun) = (0, 0, 0, self.world.now());
        for key in self.keys.clone() {
            let lookup = self.look_up(|dht, net| dht.find(net, key))?;
            found += u32::from(lookup.value == Some(key.to_string()));
            (hops, requests) = (hops + lookup.hops, requests + lookup.requests);
        }
        let mean = |sum: u32| f64::from(sum) / f64::from(VALUES);
        let (hops, requests) = (mean(hops), mean(requests));
        let took = (self.world.now() - begun).as_secs_f64() / f64::from(VALUES);
        let (now, found_of_100) = (begun.as_secs(), found * 100 / VALUES);
        let result = format!("{found_of_100:4} % {hops:6.1} {requests:9.1} {took:6.2} s");
        writeln!(out, "{now:6} s  {when:26} {result}")?;
        Ok(found)
    }
}

fn simulate(out: &mut impl Write, seed: u64) -> Result<()> {
    writeln!(out, "\nseed {seed}, {NODES} nodes, {HEAD}")?;
    let mut swarm = Swarm::new(seed);
    for _ in 0..NODES {
        let node = swarm.start(None)?;
        swarm.nodes.push(node);
        swarm.world.run_for(JOINS_EVERY);
    }
    swarm.store()?;
    swarm.find(out, "all run")?;

    let crashed: Vec<_> = swarm.nodes.iter().copied().step_by(4).collect();
    for node in &crashed {
        drop(swarm.world.crash(*node));
    }
    swarm.find(out, "a quarter has crashed")?;

    let (here, there) = swarm.nodes.split_at(NODES / 2);
    swarm.world.partition(here, there);
    swarm.find(out, "the network is cut")?;
    swarm.world.run_for(PHASE);
    swarm.find(out, "it is still cut")?;

    swarm.world.heal_all();
    for node in crashed {
        swarm.start(Some(node))?;
    }
    swarm.world.run_for(PHASE);
    match swarm.find(out, "it has healed, and all run")? {
        VALUES => Ok(()),
        found => Err(format!("{found} of {VALUES} values were found").into()),
    }
}

fn run(out: &mut impl Write, arguments: &Arguments) -> Result<()> {
    let seeds = arguments.words.iter().map(|seed| seed.parse());
    let seeds: Vec<u64> = seeds.collect::<std::result::Result<_, _>>()?;
    let seeds = if seeds.is_empty() { SEEDS } else { &seeds };
    seeds.iter().try_for_each(|seed| simulate(out, *seed))
}

fn main() -> ExitCode {
    let names = (
        "kademlia_dht_simulated",
        "usage: kademlia_dht_simulated [SEED...]",
    );
    support::run(names, &[], |arguments| run(&mut io::stdout(), &arguments))
}
