//! Nodes that keep a number of connections each, while others stop and come back.
//!
//! ```text
//! cargo run --example keep_connected
//! ```
//!
//! Twelve nodes run in one thread, on real sockets, and have the same list of
//! addresses. `keep_connected_simulated` runs the same handler in simulated networks
//! that fail.

mod keeper;

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use peerloop::group::{Group, MemberId};
use peerloop::{Metrics, RunEnd};

use keeper::{KEPT, Keeper};

const NODES: usize = 12;
const STOPPED: usize = 5;

const PATIENCE: Duration = Duration::from_secs(60);

/// A node and the address at which it listens.
type Node = (MemberId<Keeper>, SocketAddr);
type Outcome = Result<(), Box<dyn Error>>;

/// Adds a node that accepts the connections of a listener.
fn add(group: &mut Group, listener: TcpListener, known: &[SocketAddr]) -> io::Result<Node> {
    let addr = listener.local_addr()?;
    let keeper = Keeper::new(RandomState::new().hash_one(addr), known)?;
    let node = group.add(keeper::config(), keeper)?;
    let listen = group.with(node, |_, net| net.listen_on(listener, net.listen_options()));
    listen.transpose()?;
    Ok((node, addr))
}

/// Waits until each node has its connections, and prints what has happened so far.
fn wait(group: &mut Group, nodes: &[Node], begun: Instant) -> Outcome {
    let running: Vec<_> = nodes.iter().map(|(_, addr)| *addr).collect();
    let is_complete = |group: &mut Group| {
        let mut keepers = nodes.iter().map(|(node, _)| group.handler(*node));
        keepers.all(|keeper| keeper.is_some_and(|it| it.is_complete(&running)))
    };
    if group.run_until(PATIENCE, is_complete)? != RunEnd::Done {
        return Err(format!("connections are missing after {PATIENCE:?}").into());
    }
    let mut metrics = Metrics::default();
    for (node, _) in nodes {
        metrics += group
            .net(*node)
            .map(|net| net.metrics())
            .unwrap_or_default();
    }
    let (count, seconds) = (nodes.len(), begun.elapsed().as_secs_f32());
    let (lost, failed) = (metrics.disconnected, metrics.connects_failed);
    let counts = format!("they have lost {lost}, and {failed} attempts have failed");
    println!("{seconds:.2} s: {count} nodes have {KEPT} connections each; {counts}");
    Ok(())
}

fn run() -> Outcome {
    if let Some(argument) = lexopt::Parser::from_env().next()? {
        return Err(argument.unexpected().into());
    }
    let (mut group, begun) = (Group::new()?, Instant::now());
    let listeners = (0..NODES).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
    let known = listeners.iter().map(TcpListener::local_addr);
    let known = known.collect::<io::Result<Vec<_>>>()?;
    let mut nodes = Vec::new();
    for listener in listeners {
        nodes.push(add(&mut group, listener, &known)?);
    }
    wait(&mut group, &nodes, begun)?;

    println!("{STOPPED} nodes stop");
    for (node, _) in nodes.drain(..STOPPED) {
        group.remove(node);
    }
    wait(&mut group, &nodes, begun)?;

    println!("they come back");
    for addr in &known[..STOPPED] {
        nodes.push(add(&mut group, TcpListener::bind(addr)?, &known)?);
    }
    wait(&mut group, &nodes, begun)
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keep_connected: {error}");
            ExitCode::FAILURE
        }
    }
}
