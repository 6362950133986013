//! A network of 200 nodes in one thread, on a virtual clock: it is cut in two, a rumour starts in one half, the cut
//! heals, and the rumour reaches everybody.
//!
//! ```text
//! cargo run --release --features sim --example simulated_gossip
//! cargo run --release --features sim --example simulated_gossip -- --nodes 50 --seed 7
//! ```
//!
//! The same seed gives the same run. The handler knows nothing of the simulation.

use std::error::Error;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use peerloop::sim::{NodeId, World};
use peerloop::{Config, ConnId, Handler, Net, TimerId};

const USAGE: &str = "usage: simulated_gossip [--nodes NUMBER] [--seed NUMBER]

By default, 200 nodes live in the world of the seed 1.";

/// Each pair of nodes on different sides of the cut has a link of its own to be cut.
const NODES_MAX: u32 = 1_000;

const PORT: u16 = 7000;

/// How often a node tells a neighbour, and dials those that it is not connected with.
const TELL_EVERY: Duration = Duration::from_millis(200);
const DIAL_EVERY: Duration = Duration::from_secs(1);

const TELL: u64 = 0;
const DIAL: u64 = 1;

struct Gossip {
    /// Whom it dials. Others dial it.
    neighbours: Vec<SocketAddr>,
    has_heard: bool,
    /// Whose turn it is to be told, of those connected.
    next: usize,
}

impl Gossip {
    fn dial(&self, net: &mut Net) {
        for addr in &self.neighbours {
            // One that is connected already is refused as a duplicate, and one that fails is dialled again later.
            let _ = net.connect(*addr);
        }
        net.set_timer(DIAL_EVERY, DIAL);
    }

    /// Tells one neighbour after the other, again and again: a connection may break with what was told on it.
    fn tell(&mut self, net: &mut Net) {
        if self.has_heard && net.connection_count() > 0 {
            self.next = (self.next + 1) % net.connection_count();
            let neighbour = net.connections().nth(self.next);
            if let Some(neighbour) = neighbour {
                let _ = net.send(neighbour, b"rumour");
            }
        }
        net.set_timer(TELL_EVERY, TELL);
    }
}

impl Handler for Gossip {
    fn on_start(&mut self, net: &mut Net) {
        if let Err(error) = net.listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))) {
            log::error!("listening on port {PORT}: {error}");
        }
        self.dial(net);
        net.set_timer(TELL_EVERY, TELL);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if message == b"rumour" {
            self.has_heard = true;
        } else {
            net.abort(conn);
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, key: u64) {
        match key {
            DIAL => self.dial(net),
            _ => self.tell(net),
        }
    }
}

fn ip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0001 + number)
}

/// A ring with chords, so that the rumour needs few hops.
fn populate(world: &mut World, nodes: u32) -> Vec<NodeId<Gossip>> {
    (0..nodes)
        .map(|number| {
            let others = [1, 7, nodes / 2].map(|step| (number + step) % nodes);
            let neighbours = others.iter().filter(|other| **other != number);
            let gossip = Gossip {
                neighbours: neighbours
                    .map(|other| SocketAddr::from((ip(*other), PORT)))
                    .collect(),
                has_heard: false,
                next: 0,
            };
            world.node_at(IpAddr::V4(ip(number)), Config::default(), gossip)
        })
        .collect()
}

fn heard(world: &mut World, nodes: &[NodeId<Gossip>]) -> usize {
    let has_heard = |node: &&NodeId<Gossip>| world.with(**node, |gossip, _| gossip.has_heard);
    nodes.iter().filter(has_heard).count()
}

/// When the rumour starts, when the cut heals, and when the program gives up, in virtual time.
const STARTS: Duration = Duration::from_secs(5);
const HEALS: Duration = Duration::from_secs(15);
const GIVES_UP: Duration = Duration::from_secs(600);
const SAMPLE: Duration = Duration::from_millis(500);

fn simulate(count: u32, seed: u64) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    let begun = Instant::now();
    let mut world = World::new(seed);
    let nodes = populate(&mut world, count);
    writeln!(out, "{count} nodes, seed {seed}")?;

    world.run_for(STARTS);
    let (left, right) = nodes.split_at(nodes.len() / 2);
    for a in left {
        right.iter().for_each(|b| world.partition(*a, *b));
    }
    world.with(nodes[0], |gossip, _| gossip.has_heard = true);

    let mut is_cut = true;
    loop {
        let heard = heard(&mut world, &nodes);
        let bar = "#".repeat(heard * 60 / nodes.len());
        let mark = if is_cut { "cut" } else { "" };
        let seconds = world.now().as_secs_f64();
        writeln!(out, "{seconds:6.1} s |{bar:<60}| {heard:4} {mark}")?;
        if heard == nodes.len() {
            break;
        }
        if world.now() >= GIVES_UP {
            return Err(format!("{heard} of {count} have heard it after {GIVES_UP:?}").into());
        }
        if is_cut && world.now() >= HEALS {
            world.heal_all();
            is_cut = false;
        }
        world.run_for(SAMPLE);
    }
    let (now, real) = (world.now(), begun.elapsed());
    writeln!(out, "all {count} nodes have heard it")?;
    writeln!(
        out,
        "virtual time {now:.1?}, real time {real:.1?}, seed {seed}"
    )?;
    Ok(())
}

fn run() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::{Long, Short, ValueExt};

    let (mut nodes, mut seed) = (200, 1);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("nodes") => nodes = parser.value()?.parse()?,
            Long("seed") => seed = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(writeln!(io::stdout(), "{USAGE}")?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    if !(2..=NODES_MAX).contains(&nodes) {
        return Err(format!("2 to {NODES_MAX} nodes").into());
    }
    simulate(nodes, seed)
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulated_gossip: {error}");
            ExitCode::FAILURE
        }
    }
}
