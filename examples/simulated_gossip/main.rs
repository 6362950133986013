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
    degree: Option<usize>,
    svg: Option<PathBuf>,
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

/// What happened in the network.
struct Run {
    seed: u64,
    edges: Vec<(usize, usize)>,
    /// For each node, when it knew all rumours, and who told it the last one.
    heard: Vec<Duration>,
    told_by: Vec<Option<usize>>,
    messages: u64,
}

impl Run {
    /// When the last node knew.
    fn end(&self) -> Duration {
        self.heard.iter().copied().max().unwrap_or_default()
    }

    /// The times at which nodes came to know.
    fn times(&self) -> BTreeSet<Duration> {
        self.heard.iter().copied().collect()
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
    let mut heard = vec![None; nodes.len()];
    while heard.contains(&None) {
        let now = world.now();
        if now == HEALS {
            world.heal_all();
        }
        for (heard, node) in heard.iter_mut().zip(&nodes) {
            if heard.is_none() && world.handler(*node).known == all {
                *heard = Some(now);
            }
        }
        if now >= HEALS + PATIENCE {
            let known = heard.iter().flatten().count();
            return Err(format!("{known} of {} nodes know after {now:?}", nodes.len()).into());
        }
        world.run_for(LOOKS_EVERY);
    }
    let handlers = || nodes.iter().map(|node| world.handler(*node));
    Ok(Run {
        seed: options.seed,
        edges,
        heard: heard.into_iter().flatten().collect(),
        told_by: handlers().map(|it| it.told_by.and_then(node_at)).collect(),
        messages: handlers().map(|it| it.received).sum(),
    })
}

/// The curve of each half from the top downwards, without the times in which nothing
/// changes.
fn plot(run: &Run) -> String {
    let halves = run.heard.split_at(run.heard.len() / 2);
    let mut lines = format!("  time   {:BAR$}        the other half\n", "one half");
    let mut has_healed = false;
    for at in run.times() {
        if at >= HEALS && !has_healed {
            has_healed = true;
            lines.push_str("         the cut heals\n");
        }
        let _ = write!(lines, "{:5.2} s", at.as_secs_f64());
        for half in [halves.0, halves.1] {
            let known = half.iter().filter(|heard| **heard <= at).count();
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

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (nodes, seed) = (options.nodes, options.seed);
    let mut out = io::stdout();
    let begun = Instant::now();
    let mut world = World::new(seed);
    let (edges, places) = match options.degree {
        // Each node chooses half of its neighbours. The others choose it.
        Some(degree) => {
            let degree = degree.div_ceil(2);
            (Topology::Random { degree, seed }.edges(nodes)?, Vec::new())
        }
        None if nodes > CLOSE_MAX => {
            return Err(format!("more than {CLOSE_MAX} nodes need --degree").into());
        }
        None => {
            let places = network::places(&mut world.random(), nodes);
            (network::nearest(&places), places)
        }
    };
    writeln!(out, "{nodes} nodes, {} links, seed {seed}", edges.len())?;
    let run = simulate(&mut world, options, edges)?;
    let (now, real) = (run.end(), begun.elapsed());
    write!(out, "{}", plot(&run))?;
    writeln!(out, "all {nodes} nodes know")?;
    if let Some(path) = &options.svg {
        std::fs::write(path, picture::draw(&run, &places))?;
    }
    let rate = |count: u64| count as f64 / real.as_secs_f64();
    let (messages, events) = (run.messages, world.trace().len());
    writeln!(out, "{messages} messages, {:.0} per second", rate(messages))?;
    writeln!(out, "{events} events, {:.0} per second", rate(events))?;
    let times = format!("virtual time {now:.1?}, real time {real:.1?}");
    Ok(writeln!(out, "{times}, seed {seed}")?)
}

/// Returns `None` if only the usage was wanted.
fn options() -> Result<Option<Options>, Box<dyn Error>> {
    use lexopt::prelude::{Long, Short, ValueExt};

    let mut options = Options {
        nodes: 200,
        seed: 1,
        rumours: 1,
        degree: None,
        svg: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("nodes") => options.nodes = parser.value()?.parse()?,
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("rumours") => options.rumours = parser.value()?.parse()?,
            Long("degree") => options.degree = Some(parser.value()?.parse()?),
            Long("svg") => options.svg = Some(parser.value()?.into()),
            Short('h') | Long("help") => {
                writeln!(io::stdout(), "{USAGE}")?;
                return Ok(None);
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    if !(2..=NODES_MAX).contains(&options.nodes) {
        return Err(format!("2 to {NODES_MAX} nodes").into());
    }
    if !(1..=64).contains(&options.rumours) {
        return Err("1 to 64 rumours".into());
    }
    if options.degree.is_some() && options.svg.is_some() {
        return Err("the nodes of a picture are close to their neighbours: no --degree".into());
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    env_logger::init();
    match options().and_then(|options| options.as_ref().map_or(Ok(()), run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulated_gossip: {error}");
            ExitCode::FAILURE
        }
    }
}
