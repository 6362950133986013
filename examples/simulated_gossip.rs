//! A network of 200 nodes in one thread, on a virtual clock: it is cut into two
//! halves, a rumour starts in one of them, the cut heals, and the rumour reaches
//! all nodes.
//!
//! ```text
//! cargo run --release --features sim --example simulated_gossip
//! cargo run --release --features sim --example simulated_gossip -- --nodes 50 --seed 7
//! ```
//!
//! The same seed gives the same run. The handler has no knowledge of the
//! simulation: `peerloop::Node` would run it without a change.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use peerloop::config::OnPanic;
use peerloop::sim::{Link, NodeId, World};
use peerloop::{Config, ConnId, Handler, Net, TimerId};

const USAGE: &str = "usage: simulated_gossip [--nodes NUMBER] [--seed NUMBER]

By default, 200 nodes live in the world of the seed 1.";

/// The limit of nodes, because each pair on different sides of the cut has a link
/// that is cut.
const NODES_MAX: u32 = 1_000;

const PORT: u16 = 7000;
const RUMOUR: &[u8] = b"rumour";

/// How often a node sends the rumour to a neighbour, and connects to its
/// neighbours.
const SEND_EVERY: Duration = Duration::from_millis(200);
const CONNECT_EVERY: Duration = Duration::from_secs(1);

/// The keys of the two timers.
const SEND: u64 = 0;
const CONNECT: u64 = 1;

struct Gossip {
    /// The nodes that it connects to. Others connect to it.
    neighbours: Vec<SocketAddr>,
    has_rumour: bool,
    /// When it begins to send, so that not all do at the same time.
    sends_after: Duration,
    /// The index of the next connection to send to.
    next: usize,
}

impl Gossip {
    fn connect(&self, net: &mut Net) {
        for addr in &self.neighbours {
            // A connected neighbour is refused as a duplicate. After a failure
            // the next timer connects again.
            let _ = net.connect(*addr);
        }
        net.set_timer(CONNECT_EVERY, CONNECT);
    }

    /// Sends the rumour to one neighbour after the other, and again, because a
    /// connection may break before the rumour has arrived.
    fn send(&mut self, net: &mut Net) {
        if self.has_rumour && net.connection_count() > 0 {
            self.next = (self.next + 1) % net.connection_count();
            let neighbour = net.connections().map(|c| c.id()).nth(self.next);
            if let Some(neighbour) = neighbour {
                let _ = net.send(neighbour, RUMOUR);
            }
        }
        net.set_timer(SEND_EVERY, SEND);
    }
}

impl Handler for Gossip {
    fn on_start(&mut self, net: &mut Net) {
        if let Err(error) = net.listen((Ipv4Addr::UNSPECIFIED, PORT)) {
            log::error!("listening on port {PORT}: {error}");
        }
        self.connect(net);
        net.set_timer(self.sends_after, SEND);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if message == RUMOUR {
            self.has_rumour = true;
        } else {
            net.abort(conn);
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, key: u64) {
        match key {
            CONNECT => self.connect(net),
            _ => self.send(net),
        }
    }
}

/// A ring in which every node also connects to the seventh next, so that the
/// rumour needs few hops and the cut separates few neighbours.
fn populate(world: &mut World, count: u32) -> Vec<NodeId<Gossip>> {
    let mut random = world.random();
    let ip = |number: u32| Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + number);
    let node = |number: u32| {
        let others = [1, 7].map(|step| (number + step) % count);
        let others = others.into_iter().filter(|other| *other != number);
        let gossip = Gossip {
            neighbours: others.map(|other| (ip(other), PORT).into()).collect(),
            has_rumour: false,
            sends_after: SEND_EVERY.mul_f64(random.unit()),
            next: 0,
        };
        // A failed assertion in a callback ends the run.
        let config = Config {
            on_panic: OnPanic::Unwind,
            ..Config::default()
        };
        world.node_at(ip(number).into(), config, gossip)
    };
    (0..count).map(node).collect()
}

/// When the rumour starts and when the cut heals, in virtual time, and how long
/// the rumour may take from then on.
const STARTS: Duration = Duration::from_secs(5);
const HEALS: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(600);

/// How much virtual time lies between two samples, before it heals and after.
const COARSE: Duration = Duration::from_millis(250);
const FINE: Duration = Duration::from_millis(100);

/// How many nodes had the rumour at some time, of the half in which it started
/// and of the other.
struct Sample {
    at: Duration,
    informed: [usize; 2],
}

/// Runs the network, and samples it from the start of the rumour until all nodes
/// have it.
fn simulate(world: &mut World, nodes_len: u32) -> Result<Vec<Sample>, Box<dyn Error>> {
    world.default_link(Link::new(Duration::from_millis(40)).jitter(Duration::from_millis(40)));
    let nodes = populate(world, nodes_len);
    world.run_for(STARTS);

    let (here, there) = nodes.split_at(nodes.len() / 2);
    for a in here {
        there.iter().for_each(|b| world.partition(*a, *b));
    }
    world.with(here[0], |gossip, _| gossip.has_rumour = true);

    let mut samples = Vec::new();
    loop {
        let (at, informed) = (world.now(), [here, there].map(|half| count(world, half)));
        samples.push(Sample { at, informed });
        if informed == [here.len(), there.len()] {
            return Ok(samples);
        }
        if at >= HEALS + PATIENCE {
            return Err(format!("{informed:?} of {nodes_len} have the rumour after {at:?}").into());
        }
        if at == HEALS {
            world.heal_all();
        }
        world.run_for(if at < HEALS { COARSE } else { FINE });
    }
}

/// How many of these have the rumour. Reading a handler does not change the run.
fn count(world: &World, nodes: &[NodeId<Gossip>]) -> usize {
    let has_rumour = |node: &&NodeId<Gossip>| world.handler(**node).has_rumour;
    nodes.iter().filter(has_rumour).count()
}

/// The curve of each half from the top downwards, without the times in which nothing changes.
fn plot(samples: &[Sample], nodes: u32) -> String {
    let halves = [nodes / 2, nodes - nodes / 2].map(|half| half as usize);
    let mut lines = format!("  time   {:BAR$}        the other half\n", "one half");
    let mut last = None;
    for Sample { at, informed } in samples {
        if *at == HEALS {
            lines.push_str("         the cut heals\n");
        } else if last == Some(informed) {
            continue;
        }
        last = Some(informed);
        let _ = write!(lines, "{:5.2} s", at.as_secs_f64());
        for (informed, of) in informed.iter().zip(halves) {
            let _ = write!(lines, "  {} {informed:4}", bar(*informed, of));
        }
        lines.push('\n');
    }
    lines
}

/// The length of a bar when all have the rumour.
const BAR: usize = 30;

/// A bar in eighths of a character.
fn bar(informed: usize, of: usize) -> String {
    let eighths = informed * BAR * 8 / of;
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    let bar = "█".repeat(eighths / 8) + rest;
    format!("{bar:·<BAR$}")
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
    let mut out = io::stdout();
    writeln!(out, "{nodes} nodes, seed {seed}")?;
    let begun = Instant::now();
    let mut world = World::new(seed);
    let samples = simulate(&mut world, nodes)?;
    let (now, real) = (world.now(), begun.elapsed());
    write!(out, "{}", plot(&samples, nodes))?;
    writeln!(out, "all {nodes} nodes have it")?;
    let times = format!("virtual time {now:.1?}, real time {real:.1?}");
    Ok(writeln!(out, "{times}, seed {seed}")?)
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
