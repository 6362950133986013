//! The handler of `torrent` in simulated networks: a seed, a node that lies, and
//! three that fetch, on a virtual clock. The seed crashes and comes back, and one
//! node is cut off for a while. Each download must end right.
//!
//! ```text
//! cargo run --release --features sim --example torrent_simulated
//! cargo run --release --features sim --example torrent_simulated 100
//! ```
//!
//! The argument is the number of networks, each with its own latencies and faults.

mod metainfo;
mod peer;
mod pieces;
mod swarm;
mod wire;

use std::env;
use std::error::Error;
use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use peerloop::Net;
use peerloop::sim::{Link, World};
use sha1::{Digest, Sha1};

use crate::metainfo::Metainfo;
use crate::pieces::Pieces;
use crate::swarm::Swarm;

const NAMES: [&str; 5] = ["seed", "liar", "alice", "bob", "carol"];
const PORT: u16 = 6881;
const LEN: usize = 2 << 20;
const PIECE_LEN: usize = 32 << 10;
const PATIENCE_SECONDS: u64 = 300;

fn torrent(data: &[u8]) -> Vec<u8> {
    let hashes: Vec<u8> = data.chunks(PIECE_LEN).flat_map(Sha1::digest).collect();
    let (len, hashes_len) = (data.len(), hashes.len());
    let begin = format!("d4:infod6:lengthi{len}e12:piece lengthi{PIECE_LEN}e6:pieces{hashes_len}:");
    [begin.as_bytes(), &hashes, b"ee"].concat()
}

fn simulate(seed: u64) -> Result<(), Box<dyn Error>> {
    let mut world = World::new(seed);
    world.default_link(Link::new(Duration::from_millis(20)).bandwidth(50_000));
    let mut random = world.random();
    let mut data = vec![0; LEN];
    data.fill_with(|| random.next_u64() as u8);
    let metainfo = Metainfo::parse(&torrent(&data))?;

    // Each connects to those before it.
    let (mut nodes, mut addresses) = (Vec::new(), Vec::new());
    for (name, number) in NAMES.iter().zip(1..) {
        let stored = if number <= 2 {
            data.clone()
        } else {
            Vec::new()
        };
        let stored = Box::new(Cursor::new(stored));
        let mut pieces = Pieces::open(metainfo.clone(), stored, random.next_u64())?;
        if *name == "liar" {
            pieces.storage = Box::new(Cursor::new(vec![0; LEN]));
        }
        let swarm = Swarm::new(pieces, addresses.clone());
        nodes.push(world.node(swarm::config(), swarm));
        addresses.push(SocketAddr::from((Ipv4Addr::new(10, 0, 0, number), PORT)));
    }
    for node in &nodes {
        world.with(*node, |_, net| net.listen(("0.0.0.0", PORT)))?;
    }

    let mut crashed = None;
    for second in 0..PATIENCE_SECONDS {
        match second {
            5 => crashed = Some(world.crash(nodes[0]).pieces),
            10 => world.partition(nodes[2], &nodes[3..]),
            15 => {
                let pieces = crashed.take().ok_or("no crash")?;
                world.restart(nodes[0], Swarm::new(pieces, Vec::new()));
                world.with(nodes[0], |_, net| net.listen(("0.0.0.0", PORT)))?;
            }
            25 => world.heal_all(),
            _ => {}
        }
        world.run_for(Duration::from_secs(1));
        let mut is_done = second > 25;
        for (node, name) in nodes.iter().zip(NAMES) {
            if !world.is_up(*node) {
                continue;
            }
            let now = world.now().as_secs();
            let take = |swarm: &mut Swarm, _: &mut Net| std::mem::take(&mut swarm.events);
            for event in world.with(*node, take) {
                println!("{now:4} s  {name}: {event}");
            }
            is_done &= world.handler(*node).pieces.missing == 0;
        }
        if is_done {
            println!("{second:4} s  all downloads are complete");
            break;
        }
    }
    for (node, name) in nodes.into_iter().zip(NAMES).skip(2) {
        let swarm = world.crash(node);
        // Verifies what is stored.
        let pieces = Pieces::open(metainfo.clone(), swarm.pieces.storage, 0)?;
        if pieces.missing > 0 {
            return Err(format!(
                "{name} lacks {} pieces: {:?}",
                pieces.missing, swarm.failure
            )
            .into());
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let networks = env::args().nth(1).map_or(Ok(5), |number| number.parse())?;
    for seed in 0..networks {
        println!("network {seed}");
        simulate(seed)?;
    }
    Ok(())
}
