//! A node with 100,000 connections, and the nodes at their other ends, in one thread
//! on a virtual clock.
//!
//! ```text
//! cargo run --release --features sim --example c100k_simulated
//! cargo run --release --features sim --example c100k_simulated 20000
//! ```
//!
//! `c100k` has the same handlers. Connections of the simulator take no file
//! descriptors. After each turn of a node, it checks all connections of the node.

mod handlers;
#[path = "../support/many.rs"]
mod many;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use handlers::{Clients, Echo};
use lexopt::ValueExt;
use peerloop::sim::{Faults, Link, World};
use support::{Arguments, Outcome};

const USAGE: &str = "usage: c100k_simulated [NUMBER]";

const ROUNDS: usize = 3;

/// The nodes that connect to the server. The backlog of its listener has room for the
/// connects that they begin at once.
const NODES: usize = 10;

/// How long each round may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(arguments: &Arguments) -> Outcome {
    let count = arguments.words.first().map_or(Ok(100_000), |it| it.parse());
    let count: usize = count.map_err(|_| USAGE)?.max(1);
    let begun = Instant::now();
    let mut world = World::new(1);
    world.faults(Faults::calm());
    world.default_link(Link::new(Duration::from_millis(20)));
    let mut config = many::config(count);
    // Fewer turns, and therefore fewer checks.
    config.budget.accepts = 4096;
    let server = world.node(config, Echo);
    world.with(server, |_, net| {
        let mut options = net.listen_options();
        options.backlog = 4096;
        net.listen_with("0.0.0.0:7000", options)
    })?;
    let addr = world.addr(server);
    let part = |number| count * (number + 1) / NODES - count * number / NODES;
    let parts: Vec<usize> = (0..NODES).map(part).collect();
    let mut nodes = Vec::new();
    for part in &parts {
        let clients = Clients {
            server: addr,
            to_connect: *part,
            round: 0,
            answers: 0,
        };
        nodes.push(world.node(many::config(*part + 1), clients));
    }
    for round in 1..=ROUNDS {
        let start = world.now();
        for node in &nodes {
            world.with(*node, |clients, net| clients.begin_round(net));
        }
        world.run_until(PATIENCE, |world| {
            let answers = nodes.iter().map(|node| world.handler(*node).answers);
            answers.sum::<usize>() == count * round
        })?;
        let open = world.net(server).connection_count();
        if open != count {
            return Err(format!("{open} of {count} connections are open").into());
        }
        let elapsed = world.now() - start;
        println!("round {round}: {open} answers in {elapsed:.2?} of virtual time");
    }
    let (steps, elapsed) = (world.steps(), begun.elapsed());
    println!("{count} connections at once, {steps} turns in {elapsed:.1?}");
    Ok(())
}

fn main() -> ExitCode {
    support::run(("c100k_simulated", USAGE), &[], |arguments| run(&arguments))
}
