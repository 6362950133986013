//! A BitTorrent client: fetches a file from several peers at once, or seeds it.
//!
//! ```text
//! cargo run --release --example torrent seed FILE.torrent FILE
//! cargo run --release --example torrent fetch FILE.torrent DESTINATION PEER...
//! ```
//!
//! It shows a protocol that others have designed: a framing that changes after
//! the handshake, pipelined requests, work that moves from a peer that fails to
//! the others, backpressure, and a reason for each connection that ends.
//! `README.md` explains the files. `simulated.rs` runs the same handler in a
//! simulated network.

mod metainfo;
mod peer;
mod pieces;
#[path = "../support/mod.rs"]
mod support;
mod swarm;
mod wire;

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use peerloop::Node;

use crate::metainfo::Metainfo;
use crate::pieces::Pieces;
use crate::support::{Arguments, Outcome};
use crate::swarm::Swarm;

const USAGE: &str = "usage: torrent fetch FILE.torrent DESTINATION PEER...
       torrent seed FILE.torrent FILE [ADDRESS:PORT]     default: a port of 127.0.0.1";

/// Seeds on an address. Without one it fetches from peers.
fn start(torrent: &str, name: &str, addr: Option<SocketAddr>, peers: Vec<SocketAddr>) -> Outcome {
    let bytes = fs::read(torrent).map_err(|error| format!("{torrent}: {error}"))?;
    let metainfo = Metainfo::parse(&bytes).map_err(|error| format!("{torrent}: {error}"))?;
    let (len, fetches) = (metainfo.len, addr.is_none());
    let mut options = File::options();
    options.read(true).write(fetches).create(fetches);
    let file = options.open(name);
    let file = file.map_err(|error| format!("{name}: {error}"))?;
    let mut pieces = Pieces::open(metainfo, Box::new(file.try_clone()?))?;
    pieces.seed = RandomState::new().hash_one(0);
    if !fetches && pieces.missing > 0 {
        return Err(format!("{name} is not the file of {torrent}, or incomplete").into());
    }
    let mut node = Node::new(swarm::config(), Swarm::new(pieces, peers))?;
    let bar = support::progress(len);
    if let Some(addr) = addr {
        let listening = node.net().listen(addr)?;
        writeln!(io::stdout(), "seeding {name} on {listening}")?;
        bar.finish_and_clear();
    }
    let _ = node.run_until(std::time::Duration::MAX, |swarm, _| {
        for event in swarm.events.drain(..) {
            bar.suspend(|| eprintln!("{event}"));
        }
        let missing = swarm.pieces.metainfo.offset(swarm.pieces.missing);
        bar.set_position(len.saturating_sub(missing));
        fetches && (missing == 0 || swarm.failure.is_some())
    })?;
    bar.finish();
    let swarm = node.handler();
    if let (Some(why), missing @ 1..) = (swarm.failure, swarm.pieces.missing) {
        return Err(format!("{why}, and {missing} pieces are missing").into());
    }
    file.set_len(len)?;
    let seconds = bar.elapsed().as_secs_f64();
    let end = format!("{len} bytes in {seconds:.2} s, verified");
    Ok(writeln!(io::stdout(), "{name}: {end}")?)
}

fn run(arguments: Arguments) -> Outcome {
    let words: Option<Vec<_>> = arguments.words.iter().map(|word| word.to_str()).collect();
    let Some([command, torrent, name, addresses @ ..]) = words.as_deref() else {
        return Err(USAGE.into());
    };
    let addresses = addresses.iter().map(|addr| addr.parse());
    let addresses: Vec<SocketAddr> = addresses.collect::<Result<_, _>>()?;
    match (*command, addresses.as_slice()) {
        ("fetch", [_, ..]) => start(torrent, name, None, addresses),
        ("seed", []) => start(torrent, name, Some(([127, 0, 0, 1], 0).into()), addresses),
        ("seed", [addr]) => start(torrent, name, Some(*addr), vec![]),
        _ => Err(USAGE.into()),
    }
}

fn main() -> ExitCode {
    support::run(("torrent", USAGE), &[], run)
}
