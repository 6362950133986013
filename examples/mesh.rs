//! A network of many nodes in one thread. Each node starts a rumour, and every
//! rumour reaches every node.
//!
//! ```text
//! cargo run --release --example mesh
//! cargo run --release --example mesh -- --nodes 1000 --topology tree
//! ulimit -n 20000; cargo run --release --example mesh -- --nodes 100
//! ```
//!
//! Each connection takes two file descriptors, because both ends are here.
//!
//! It shows `Group` and `Topology`, and measures them: the time and memory for
//! each node and each connection, and the messages per second. A node that gets a
//! rumour for the first time passes it on to all neighbours except the one that
//! it came from. So the number of messages is known in advance, and the program
//! checks that all of them arrive. At the end it shows how many hops the rumours
//! took: the fastest way is not always the shortest one.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use peerloop::framing::Framing;
use peerloop::group::Group;
use peerloop::topology::Topology;
use peerloop::{Config, ConnId, Handler, Net};

const USAGE: &str = "usage: mesh [--nodes NUMBER] [--topology SHAPE]

SHAPE is one of line, ring, mesh, star, tree, grid, random. By default, 30 nodes form a mesh.";

/// The maximum number of nodes, because each of them remembers all rumours.
const NODES_MAX: usize = 1000;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message is the number of the node that started the rumour, and the number
/// of connections that the message has passed, this one included.
const MESSAGE_LEN: usize = 8;

struct Gossip {
    /// The hops with which each rumour arrived first.
    hops: Vec<Option<u32>>,
    received: usize,
}

impl Gossip {
    /// Remembers a rumour, and passes it on if it is new.
    fn learn(&mut self, net: &mut Net, origin: usize, hops: u32, from: Option<ConnId>) {
        match self.hops.get_mut(origin) {
            Some(unknown @ None) => *unknown = Some(hops),
            _ => return,
        }
        let message = (origin as u64) << 32 | u64::from(hops.saturating_add(1));
        let outcome = net.broadcast_all(&message.to_be_bytes(), from);
        log::debug!("{} passes rumour {origin} on: {outcome:?}", net.name());
    }
}

impl Handler for Gossip {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let Ok(message) = message.try_into().map(u64::from_be_bytes) else {
            return; // The framing delivers no other length.
        };
        self.received += 1;
        self.learn(net, (message >> 32) as usize, message as u32, Some(conn));
    }
}

/// The beginning of a step, and the resident memory then.
struct Step(Instant, Option<f64>);

impl Step {
    fn begin() -> Self {
        Self(Instant::now(), resident_kib())
    }

    /// Prints the time and the memory that the step took for each of `count`.
    fn end(self, count: usize, what: &str) {
        let (took, each) = (self.0.elapsed(), count as f64);
        let rate = each / took.as_secs_f64();
        let grown = self.1.zip(resident_kib()).map(|(before, now)| now - before);
        let memory = grown.map_or_else(|| "?".into(), |kib| format!("{:.2}", kib / each));
        println!("{count} {what}: {took:.1?}, {rate:.0} per second, {memory} KiB each");
    }
}

/// Returns the resident memory of this process, on Linux; see proc_pid_status(5).
fn resident_kib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn gossip(topology: Topology, nodes: usize) -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.connection.framing = Framing::Fixed(MESSAGE_LEN);
    // All nodes have the address of this machine.
    config.limits.max_connections_per_address = NODES_MAX;
    config.limits.max_outbound_connecting = NODES_MAX;

    let (mut group, mut members) = (Group::new()?, Vec::new());
    let step = Step::begin();
    for _ in 0..nodes {
        let (hops, received) = (vec![None; nodes], 0);
        members.push(group.add(config.clone(), Gossip { hops, received })?);
    }
    step.end(nodes, "nodes");

    let step = Step::begin();
    let connections = group.connect_all(topology, PATIENCE)?.len();
    step.end(connections, "connections");

    // A node sends its own rumour on all of its connections, and each other one
    // on all but one. So this number arrives only if every rumour did.
    let messages = nodes * 2 * connections - nodes * (nodes - 1);
    let step = Step::begin();
    for (number, member) in members.iter().enumerate() {
        group.with(*member, |gossip, net| gossip.learn(net, number, 0, None));
    }
    let mut received = 0;
    let end = group.run_until(PATIENCE, |group| {
        received = group.handlers(&members).map(|it| it.received).sum();
        received >= messages
    })?;
    step.end(received, "messages");
    if received != messages {
        return Err(format!("{messages} messages were sent: {end:?}").into());
    }

    let all = group.handlers(&members);
    let mut hops: Vec<_> = all.flat_map(|it| &it.hops).flatten().collect();
    hops.sort_unstable();
    // A node knows its own rumour after no hop.
    let distances: Vec<_> = hops.chunk_by(|a, b| a == b).skip(1).collect();
    let most = distances.iter().map(|it| it.len()).max().unwrap_or(1);
    for same in distances {
        let bar = "#".repeat((50 * same.len()).div_ceil(most));
        println!("hops {:3}: {bar} {}", same[0], same.len());
    }
    Ok(())
}

fn topology(shape: &str, nodes: usize) -> Result<Topology, String> {
    Ok(match shape {
        "line" => Topology::Line,
        "ring" => Topology::Ring,
        "mesh" => Topology::Mesh,
        "star" => Topology::Star,
        "tree" => Topology::Tree,
        "grid" => {
            // As close to a square as the number of nodes allows.
            let divisors = (1..=nodes.isqrt()).filter(|rows| nodes % rows == 0);
            let height = divisors.max().unwrap_or(1);
            let width = nodes / height;
            Topology::Grid { width, height }
        }
        "random" => Topology::Random { degree: 3, seed: 1 },
        _ => return Err(format!("there is no topology {shape:?}\n{USAGE}")),
    })
}

fn run() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::{Long, Short, ValueExt};

    let (mut nodes, mut shape) = (30, "mesh".to_owned());
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("nodes") => nodes = parser.value()?.parse()?,
            Long("topology") => shape = parser.value()?.string()?,
            Short('h') | Long("help") => return Ok(writeln!(io::stdout(), "{USAGE}")?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    if !(2..=NODES_MAX).contains(&nodes) {
        return Err(format!("2 to {NODES_MAX} nodes").into());
    }
    gossip(topology(&shape, nodes)?, nodes)
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mesh: {error}");
            ExitCode::FAILURE
        }
    }
}
