//! The handler of `torrent` in simulated networks: a seed, a node that lies, and
//! three that fetch, on a virtual clock. The seed crashes and comes back, and one
//! node is cut off for a while. Each download must end right.
//!
//! ```text
//! cargo run --release --features sim --example torrent_simulated
//! PEERLOOP_SEEDS=100 cargo run --release --features sim --example torrent_simulated
//! ```
//!
//! Each network has a seed, from which its latencies and faults are drawn.

#[expect(dead_code, reason = "no file is read")]
mod metainfo;
mod peer;
mod pieces;
mod swarm;
mod wire;

use std::error::Error;
use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use peerloop::Net;
use peerloop::sim::{self, Link, World};
use sha1::{Digest, Sha1};

use crate::metainfo::Metainfo;
use crate::pieces::Pieces;
use crate::swarm::Swarm;

const NAMES: [&str; 5] = ["seed", "liar", "alice", "bob", "carol"];
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 6881);
const LEN: usize = 1 << 20;
const PIECE_LEN: usize = 32 << 10;

fn simulate(seed: u64) -> Result<(), Box<dyn Error>> {
    let mut world = World::new(seed);
    world.default_link(Link::new(Duration::from_millis(20)).bandwidth(25_000));
    let mut random = world.random();
    let mut data = vec![0; LEN];
    data.fill_with(|| random.next_u64() as u8);
    let hashes = data.chunks(PIECE_LEN).map(|it| Sha1::digest(it).into());
    let metainfo = Metainfo {
        info_hash: [7; 20],
        len: LEN as u64,
        piece_len: PIECE_LEN as u32,
        hashes: hashes.collect(),
    };

    // Each connects to those before it.
    let (mut nodes, mut addresses) = (Vec::new(), Vec::new());
    for (name, number) in NAMES.iter().zip(1..) {
        let stored = if number <= 2 { &data[..] } else { &[] };
        let stored = Box::new(Cursor::new(stored.to_vec()));
        let mut pieces = Pieces::open(metainfo.clone(), stored)?;
        pieces.seed = random.next_u64();
        if *name == "liar" {
            pieces.storage = Box::new(Cursor::new(vec![0; LEN]));
        }
        let node = world.node(swarm::config(), Swarm::new(pieces, addresses.clone()));
        world.with(node, |_, net| net.listen(ANY))?;
        nodes.push(node);
        addresses.push((Ipv4Addr::new(10, 0, 0, number), ANY.port()).into());
    }

    let mut crashed = None;
    for second in 0..3000 {
        match second {
            5 => crashed = Some(world.crash(nodes[0]).pieces),
            10 => world.partition(nodes[2], &nodes[3..]),
            15 => {
                let pieces = crashed.take().ok_or("no crash")?;
                world.restart(nodes[0], Swarm::new(pieces, Vec::new()));
                world.with(nodes[0], |_, net| net.listen(ANY))?;
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
        let missing = Pieces::open(metainfo.clone(), swarm.pieces.storage)?.missing;
        if missing > 0 {
            return Err(format!("{name} lacks {missing} pieces").into());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    for seed in sim::seeds(3) {
        println!("network {seed}");
        if let Err(error) = simulate(seed) {
            eprintln!("torrent_simulated: network {seed}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
