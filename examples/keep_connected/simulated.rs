//! The keepers of `keep_connected` in simulated networks. Again and again some nodes crash
//! or are cut off from the others, and connects are refused or get no answer. Afterwards
//! each node must have its connections again within a stated time.
//!
//! ```text
//! cargo run --release --features sim --example keep_connected_simulated
//! PEERLOOP_SEEDS=1000 cargo run --release --features sim --example keep_connected_simulated
//! ```
//!
//! Each network has a seed. The same seed gives the same run; `PEERLOOP_SEED=7` runs the
//! seed 7 only.

mod keeper;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use peerloop::sim::{self, Faults, World};

use keeper::{KEPT, Keeper};

const SEEDS: u64 = 10;
const NODES: u8 = 12;

/// Where each node listens.
const LISTEN: (Ipv4Addr, u16) = (Ipv4Addr::UNSPECIFIED, 7000);

/// How often some nodes crash or are cut off, and the longest time of it.
const FAULTS: u32 = 10;
const LONGEST_FAULT_MILLIS: u64 = 40_000;

/// The time after the faults within which each node has its connections again. A dead
/// connection is found after 15 s. An attempt under way takes up to 10 s, for the connect
/// and the handshake, and then its address waits for 20 s. The rest is for slow clocks.
const STATED: Duration = Duration::from_secs(60);

/// Runs a network. Returns the time after the faults at which the last node had its
/// connections again.
fn simulate(seed: u64) -> Result<Duration, Box<dyn Error>> {
    let mut world = World::new(seed); // The seed also decides the faults of the kernels.
    let mut random = world.random();
    let known = (1..=NODES).map(|host| SocketAddr::from(([10, 0, 0, host], LISTEN.1)));
    let known: Vec<_> = known.collect();
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let keeper = Keeper::new(random.next_u64(), &known)?;
        let node = world.node(keeper::config(), keeper);
        world.with(node, |_, net| net.listen(LISTEN))?;
        nodes.push(node);
    }

    let (mut crashes, mut cuts) = (0, 0);
    for _ in 0..FAULTS {
        random.shuffle(&mut nodes);
        let (some, others) = nodes.split_at(random.between(1, NODES.into()) as usize);
        if random.chance(0.5) {
            world.partition(some, others);
            cuts += 1;
        } else {
            some.iter().for_each(|node| drop(world.crash(*node)));
            crashes += some.len();
        }
        world.run_for(Duration::from_millis(random.below(LONGEST_FAULT_MILLIS)));
        world.heal_all();
        for node in some {
            if !world.is_up(*node) {
                world.restart(*node, Keeper::new(random.next_u64(), &known)?);
                world.with(*node, |_, net| net.listen(LISTEN))?;
            }
        }
    }

    world.faults(Faults::calm());
    let (healed, mut recovered) = (world.now(), Duration::ZERO);
    // All of this time is watched, because a node may not know yet that a connection is dead.
    while world.now() < healed + STATED {
        world.run_for(Duration::from_millis(100));
        let mut keepers = nodes.iter().map(|node| world.handler(*node));
        let is_complete = keepers.all(|keeper| keeper.is_complete(&known));
        // Both ends know of each connection, and of no other.
        let ends = nodes.iter().map(|node| world.net(*node).connection_count());
        if !is_complete || ends.sum::<usize>() != 2 * KEPT * nodes.len() {
            recovered = world.now() - healed;
        }
    }
    if recovered >= STATED {
        return Err(format!("seed {seed}: connections are missing after {STATED:?}").into());
    }
    println!("seed {seed}: {crashes} crashes, {cuts} cuts; recovered after {recovered:.1?}");
    Ok(recovered)
}

fn run() -> Result<(), Box<dyn Error>> {
    if let Some(argument) = lexopt::Parser::from_env().next()? {
        return Err(argument.unexpected().into());
    }
    let mut longest = Duration::ZERO;
    for seed in sim::seeds(SEEDS) {
        longest = longest.max(simulate(seed)?);
    }
    println!("each node had {KEPT} connections again within {longest:.1?}; stated: {STATED:?}");
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keep_connected_simulated: {error}");
            ExitCode::FAILURE
        }
    }
}
