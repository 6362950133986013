//! A small network in one process, through which a rumour spreads to all nodes.
//!
//! ```text
//! cargo run --example mesh
//! cargo run --example mesh -- --nodes 20 --topology ring
//! ```
//!
//! Every node runs in a thread, and gets the addresses to connect to through its
//! `Handle`. A node that receives the rumour passes it on to its neighbours, one
//! after the other and in random order, with a pause in between: the pause is
//! made with a timer. Every node sends to all of its neighbours, so the rumour
//! reaches all nodes that are connected.

use peerloop::config::{ConnectionConfig, Limits};
use peerloop::{Config, ConnId, ConnInfo, ConnectError, Handle, Handler, Net, Node, TimerId};
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use peerloop::framing::Framing;
use peerloop::topology::Topology;

const USAGE: &str = "usage: mesh [--nodes NUMBER] [--topology SHAPE]

SHAPE is one of line, ring, mesh, star, tree, grid, random. By default, 8 nodes form a mesh.";

/// The limit of threads and sockets for a demonstration.
const NODES_MAX: u32 = 200;

/// How long a node waits before it sends to the next neighbour.
const PAUSE: Duration = Duration::from_millis(10);

/// How long the program waits for progress before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// The message on the wire, in eight bytes.
#[derive(Clone, Copy)]
struct Rumour {
    /// The node that sends it.
    sender: u32,
    /// The number of connections that it has passed, this one included.
    hops: u32,
}

impl Rumour {
    const LEN: usize = 8;

    fn encode(self) -> [u8; Self::LEN] {
        (u64::from(self.sender) << 32 | u64::from(self.hops)).to_be_bytes()
    }

    fn decode(message: &[u8]) -> Option<Self> {
        let bits = u64::from_be_bytes(message.try_into().ok()?);
        Some(Self {
            sender: (bits >> 32) as u32,
            hops: bits as u32,
        })
    }
}

/// A report of a node to the main thread.
enum Report {
    Connected,
    ConnectFailed(String),
    Received { node: u32, rumour: Rumour },
}

struct Gossip {
    number: u32,
    reports: Sender<Report>,
    /// The message of this node, once it has received the rumour.
    rumour: Option<Rumour>,
    /// The neighbours to which it has not sent the rumour yet.
    remaining: Vec<ConnId>,
}

impl Gossip {
    fn report(&self, report: Report) {
        // The send fails when the main thread has given up; then the process ends.
        let _ = self.reports.send(report);
    }

    /// Begins to send the rumour to all neighbours except the one that it came
    /// from.
    fn spread(&mut self, net: &mut Net, hops: u32, from: Option<ConnId>) {
        self.rumour = Some(Rumour {
            sender: self.number,
            hops: hops.saturating_add(1),
        });
        let random = RandomState::new();
        self.remaining = net.connections().map(|c| c.id()).collect();
        self.remaining.retain(|conn| Some(*conn) != from);
        self.remaining
            .sort_by_cached_key(|conn| random.hash_one(conn));
        net.set_timer(PAUSE, 0);
    }
}

impl Handler for Gossip {
    fn on_connect(&mut self, _: &mut Net, _: ConnId) {
        self.report(Report::Connected);
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, info: &ConnInfo, error: ConnectError) {
        let addr = info.addr;
        let what = format!("node {} connects to {addr}: {error}", self.number);
        self.report(Report::ConnectFailed(what));
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let Some(rumour) = Rumour::decode(message) else {
            return net.abort(conn);
        };
        if self.rumour.is_none() {
            let node = self.number;
            self.report(Report::Received { node, rumour });
            self.spread(net, rumour.hops, Some(conn));
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        let (Some(rumour), Some(neighbour)) = (self.rumour, self.remaining.pop()) else {
            return;
        };
        if let Err(error) = net.send(neighbour, &rumour.encode()) {
            log::warn!("node {} sends to {neighbour}: {error}", self.number);
        }
        net.set_timer(PAUSE, 0);
    }
}

/// A node that runs in another thread, as the main thread sees it.
struct Member {
    addr: SocketAddr,
    handle: Handle<Gossip>,
    thread: JoinHandle<io::Result<()>>,
}

impl Member {
    fn start(number: u32, reports: Sender<Report>) -> io::Result<Self> {
        let config = Config {
            name: format!("node {number}"),
            connection: ConnectionConfig {
                framing: Framing::Fixed(Rumour::LEN),
                ..Default::default()
            },
            limits: Limits {
                // All the others have the address of this machine.
                max_connections_per_address: NODES_MAX as usize,
                ..Default::default()
            },
            ..Config::default()
        };
        let gossip = Gossip {
            number,
            reports,
            rumour: None,
            remaining: Vec::new(),
        };
        let mut node = Node::new(config, gossip)?;
        Ok(Self {
            addr: node.net().listen("127.0.0.1:0")?.addr,
            handle: node.handle(),
            thread: thread::Builder::new().spawn(move || node.run())?,
        })
    }
}

fn gossip(topology: Topology, nodes: u32) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    let edges = topology.edges(nodes as usize)?;
    let (sender, reports) = mpsc::channel();
    let members = (0..nodes)
        .map(|number| Member::start(number, sender.clone()))
        .collect::<io::Result<Vec<_>>>()?;

    for &(connector, listener) in &edges {
        let addr = members[listener].addr;
        members[connector]
            .handle
            .ask(move |_, net| net.connect(addr))??;
    }
    // Both ends of a connection report it.
    for _ in 0..2 * edges.len() {
        if let Report::ConnectFailed(what) = next(&reports)? {
            return Err(what.into());
        }
    }
    writeln!(out, "{nodes} nodes, {} connections", edges.len())?;

    writeln!(out, "node 0 starts a rumour")?;
    let start = |gossip: &mut Gossip, net: &mut Net| gossip.spread(net, 0, None);
    members[0].handle.post(start)?;
    let mut hops_max = 0;
    let mut left = nodes - 1;
    while left > 0 {
        if let Report::Received { node, rumour } = next(&reports)? {
            let Rumour { sender, hops } = rumour;
            writeln!(out, "node {node} gets it from node {sender}, hops: {hops}")?;
            hops_max = hops_max.max(hops);
            left -= 1;
        }
    }
    writeln!(out, "all {nodes} nodes have it, most hops: {hops_max}")?;

    for member in &members {
        member.handle.shutdown(Duration::from_secs(1));
    }
    for member in members {
        member.thread.join().map_err(|_| "a node panicked")??;
    }
    Ok(())
}

fn next(reports: &Receiver<Report>) -> Result<Report, String> {
    reports
        .recv_timeout(PATIENCE)
        .map_err(|_| format!("nothing happened for {PATIENCE:?}; is every node connected?"))
}

fn topology(shape: &str, nodes: u32) -> Result<Topology, String> {
    Ok(match shape {
        "line" => Topology::Line,
        "ring" => Topology::Ring,
        "mesh" => Topology::Mesh,
        "star" => Topology::Star,
        "tree" => Topology::Tree,
        "grid" => {
            // As close to a square as the number of nodes allows.
            let height = (1..=nodes.isqrt()).rfind(|rows| nodes % rows == 0);
            let height = height.unwrap_or(1) as usize;
            let width = nodes as usize / height;
            Topology::Grid { width, height }
        }
        "random" => Topology::Random { degree: 3, seed: 1 },
        _ => return Err(format!("there is no topology {shape:?}\n{USAGE}")),
    })
}

fn run() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::{Long, Short, ValueExt};

    let (mut nodes, mut shape) = (8, "mesh".to_owned());
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("nodes") => nodes = parser.value()?.parse()?,
            Long("topology") => shape = parser.value()?.string()?,
            Short('h') | Long("help") => return Ok(writeln!(io::stdout(), "{USAGE}")?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    if nodes > NODES_MAX {
        return Err(format!("no more than {NODES_MAX} nodes").into());
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
