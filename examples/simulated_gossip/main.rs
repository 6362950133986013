//! A network of 200 nodes in one thread, on a virtual clock: it is cut into two
//! halves, a rumour starts in one of them, the cut heals, and the rumour reaches
//! all nodes.
//!
//! ```text
//! cargo run --release --features sim --example simulated_gossip
//! cargo run --release --features sim --example simulated_gossip -- --svg gossip.svg --seed 7
//! cargo run --release --features sim --example simulated_gossip -- \
//!     --nodes 10000 --degree 8 --rumours 10
//! ```
//!
//! The same seed gives the same run and the same picture. The handler has no
//! knowledge of the simulation: `peerloop::Node` would run it without a change.

mod gossip;
mod network;
mod picture;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use peerloop::Config;
use peerloop::config::OnPanic;
use peerloop::sim::{Link, NodeId, World};
use peerloop::topology::Topology;

use gossip::{Gossip, PORT, TELL_EVERY};
use support::{Arguments, Outcome};

const USAGE: &str = "usage: simulated_gossip [--nodes NUMBER] [--seed NUMBER] [--rumours NUMBER]
                        [--degree NUMBER | --svg FILE]

By default, 200 nodes live in the world of the seed 1, each is connected to those
that are close to it, and there is one rumour. With --degree the neighbours are
chosen at random, and each node has that number of them on average.";

/// The limits of nodes: each has an address in 10.0.0.0/8, and the search for close
/// ones takes a time that is quadratic.
const NODES_MAX: usize = 1_000_000;
const CLOSE_MAX: usize = 2_000;

/// When the cut is made and the rumours start, when the cut heals, how long the
/// rumours may take from then on, and how often is looked who knows them.
const STARTS: Duration = Duration::from_secs(2);
const HEALS: Duration = Duration::from_secs(7);
const PATIENCE: Duration = Duration::from_secs(600);
const LOOKS_EVERY: Duration = Duration::from_millis(100);

struct Options {
    nodes: usize,
    seed: u64,
    rumours: u32,
    /// Zero: the neighbours are the nodes that are close.
    degree: usize,
    /// Empty: no picture.
    svg: PathBuf,
}

/// The addresses of the nodes begin here.
const FIRST: u32 = 0x0a00_0001;

fn ip(node: usize) -> IpAddr {
    Ipv4Addr::from_bits(FIRST + node as u32).into()
}

fn node_at(ip: IpAddr) -> Option<usize> {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().checked_sub(FIRST).map(|node| node as usize),
        IpAddr::V6(_) => None,
    }
}

/// Makes a node for each number, which connects to those on the other ends of its
/// edges.
fn populate(world: &mut World, edges: &[(usize, usize)], nodes: usize) -> Vec<NodeId<Gossip>> {
    let mut random = world.random();
    let mut neighbours = vec![Vec::new(); nodes];
    for (from, to) in edges {
        neighbours[*from].push(SocketAddr::new(ip(*to), PORT));
    }
    let node = |(number, neighbours)| {
        // A failed assertion in a callback ends the run.
        let config = Config {
            on_panic: OnPanic::Unwind,
            ..Config::default()
        };
        let gossip = Gossip::new(neighbours, TELL_EVERY.mul_f64(random.unit()));
        world.node_at(ip(number), config, gossip)
    };
    neighbours.into_iter().enumerate().map(node).collect()
}

/// A record of the network.
struct Run {
    seed: u64,
    edges: Vec<(usize, usize)>,
    /// For each node, when it knew all rumours, and who told it the last one.
    knew: Vec<Duration>,
    told_by: Vec<Option<usize>>,
    messages: u64,
}

impl Run {
    /// When the last node knew.
    fn end(&self) -> Duration {
        self.knew.iter().copied().max().unwrap_or_default()
    }

    /// The times at which nodes came to know.
    fn times(&self) -> BTreeSet<Duration> {
        self.knew.iter().copied().collect()
    }
}

/// Runs the network until all nodes know all rumours. They start in the first half of
/// the nodes.
fn simulate(
    world: &mut World,
    options: &Options,
    edges: Vec<(usize, usize)>,
) -> Result<Run, Box<dyn Error>> {
    world.default_link(Link::new(Duration::from_millis(40)).jitter(Duration::from_millis(40)));
    let nodes = populate(world, &edges, options.nodes);
    world.run_for(STARTS);

    let (here, there) = nodes.split_at(nodes.len() / 2);
    world.partition(here, there);
    for rumour in 0..options.rumours {
        let node = here[rumour as usize * here.len() / options.rumours as usize];
        world.with(node, |gossip, _| gossip.known |= 1 << rumour);
    }

    let all = u64::MAX >> (64 - options.rumours);
    let mut knew = vec![None; nodes.len()];
    while knew.contains(&None) {
        let now = world.now();
        if now == HEALS {
            world.heal_all();
        }
        for (knew, node) in knew.iter_mut().zip(&nodes) {
            if knew.is_none() && world.handler(*node).known == all {
                *knew = Some(now);
            }
        }
        if now >= HEALS + PATIENCE {
            let known = knew.iter().flatten().count();
            return Err(format!("{known} of {} nodes know after {now:?}", nodes.len()).into());
        }
        world.run_for(LOOKS_EVERY);
    }
    let handlers = || nodes.iter().map(|node| world.handler(*node));
    Ok(Run {
        seed: options.seed,
        edges,
        knew: knew.into_iter().flatten().collect(),
        told_by: handlers().map(|it| it.told_by.and_then(node_at)).collect(),
        messages: handlers().map(|it| it.received).sum(),
    })
}

/// The curve of each half from the top downwards, without the times in which nothing
/// changes.
fn plot(run: &Run) -> String {
    let halves = run.knew.split_at(run.knew.len() / 2);
    let mut lines = format!("  time   {:BAR$}        the other half\n", "one half");
    let mut has_healed = false;
    for at in run.times() {
        if at >= HEALS && !has_healed {
            has_healed = true;
            lines.push_str("         the cut heals\n");
        }
        let _ = write!(lines, "{:5.2} s", at.as_secs_f64());
        for half in [halves.0, halves.1] {
            let known = half.iter().filter(|knew| **knew <= at).count();
            let _ = write!(lines, "  {} {known:4}", bar(known, half.len()));
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

fn run(options: &Options) -> Outcome {
    let (nodes, seed) = (options.nodes, options.seed);
    let mut out = io::stdout();
    let begun = Instant::now();
    let mut world = World::new(seed);
    // Each node chooses half of its neighbours. The others choose it.
    let degree = options.degree.div_ceil(2);
    let (edges, places) = if degree > 0 {
        (Topology::Random { degree, seed }.edges(nodes)?, Vec::new())
    } else if nodes <= CLOSE_MAX {
        let places = network::places(&mut world.random(), nodes);
        (network::nearest(&places), places)
    } else {
        return Err(format!("more than {CLOSE_MAX} nodes need --degree").into());
    };
    writeln!(out, "{nodes} nodes, {} links, seed {seed}", edges.len())?;
    let run = simulate(&mut world, options, edges)?;
    let (now, real) = (run.end(), begun.elapsed());
    write!(out, "{}", plot(&run))?;
    writeln!(out, "all {nodes} nodes know")?;
    if options.svg != PathBuf::new() {
        std::fs::write(&options.svg, picture::draw(&run, &places))?;
    }
    let rate = |count: u64| count as f64 / real.as_secs_f64();
    let (messages, events) = (run.messages, world.trace().len());
    writeln!(out, "{messages} messages, {:.0} per second", rate(messages))?;
    writeln!(out, "{events} events, {:.0} per second", rate(events))?;
    let times = format!("virtual time {now:.1?}, real time {real:.1?}");
    Ok(writeln!(out, "{times}, seed {seed}")?)
}

fn options(arguments: &Arguments) -> Result<Options, Box<dyn Error>> {
    let options = Options {
        nodes: arguments.option("nodes", 200)?,
        seed: arguments.option("seed", 1)?,
        rumours: arguments.option("rumours", 1)?,
        degree: arguments.option("degree", 0)?,
        svg: arguments.option("svg", PathBuf::new())?,
    };
    if !arguments.words.is_empty() {
        return Err(USAGE.into());
    }
    if !(2..=NODES_MAX).contains(&options.nodes) {
        return Err(format!("2 to {NODES_MAX} nodes").into());
    }
    if !(1..=64).contains(&options.rumours) {
        return Err("1 to 64 rumours".into());
    }
    if options.degree > 0 && options.svg != PathBuf::new() {
        return Err("the nodes of a picture are close to their neighbours: no --degree".into());
    }
    Ok(options)
}

fn main() -> ExitCode {
    let names = ["nodes", "seed", "rumours", "degree", "svg"];
    support::run(("simulated_gossip", USAGE), &names, |arguments| {
        run(&options(&arguments)?)
    })
}
