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
mod swarm;
mod wire;

use std::error::Error;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use peerloop::Node;

use crate::metainfo::Metainfo;
use crate::pieces::Pieces;
use crate::swarm::Swarm;

const USAGE: &str = "usage: torrent fetch FILE.torrent DESTINATION PEER...
       torrent seed FILE.torrent FILE [ADDRESS:PORT]

A peer is an ADDRESS:PORT. By default it seeds on 127.0.0.1 and a free port. What
the destination has already is not fetched again.";

const FOREVER: Duration = Duration::MAX;

type Failure = Box<dyn Error>;

fn node(torrent: &str, file: File, peers: Vec<SocketAddr>) -> Result<Node<Swarm>, Failure> {
    let bytes = fs::read(torrent).map_err(|error| format!("{torrent}: {error}"))?;
    let metainfo = Metainfo::parse(&bytes).map_err(|error| format!("{torrent}: {error}"))?;
    let seed = RandomState::new().hash_one(0);
    let pieces = Pieces::open(metainfo, Box::new(file), seed)?;
    Ok(Node::new(swarm::config(), Swarm::new(pieces, peers))?)
}

fn seed(torrent: &str, name: &str, addr: SocketAddr) -> Result<(), Failure> {
    let file = File::open(name).map_err(|error| format!("{name}: {error}"))?;
    let mut node = node(torrent, file, Vec::new())?;
    if node.handler().pieces.missing > 0 {
        return Err(format!("{name} is not the file of {torrent}, or incomplete").into());
    }
    let listening = node.net().listen(addr)?;
    writeln!(io::stdout(), "seeding {name} on {listening}")?;
    loop {
        let _ = node.run_until(FOREVER, |swarm, _| !swarm.events.is_empty())?;
        for event in node.handler_mut().events.drain(..) {
            eprintln!("{event}");
        }
    }
}

fn fetch(torrent: &str, name: &str, peers: Vec<SocketAddr>) -> Result<(), Failure> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let file = options
        .open(name)
        .map_err(|error| format!("{name}: {error}"))?;
    let mut node = node(torrent, file.try_clone()?, peers)?;
    let (begun, len) = (Instant::now(), node.handler().pieces.metainfo.len);
    let style = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let bar = ProgressBar::new(len).with_style(ProgressStyle::with_template(style)?);
    let _ = node.run_until(FOREVER, |swarm, _| {
        for event in swarm.events.drain(..) {
            bar.suspend(|| eprintln!("{event}"));
        }
        let missing = swarm.pieces.metainfo.offset(swarm.pieces.missing);
        bar.set_position(len.saturating_sub(missing));
        missing == 0 || swarm.failure.is_some()
    })?;
    bar.finish();
    let swarm = node.handler();
    if let (Some(why), missing @ 1..) = (swarm.failure, swarm.pieces.missing) {
        return Err(format!("{why}, and {missing} pieces are missing").into());
    }
    file.set_len(len)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(writeln!(
        io::stdout(),
        "{name}: {len} bytes in {seconds:.2} s, verified"
    )?)
}

fn run() -> Result<(), Failure> {
    use lexopt::prelude::{Long, Short, Value, ValueExt};

    let mut words = Vec::new();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) => words.push(word.string()?),
            Short('h') | Long("help") => return Ok(writeln!(io::stdout(), "{USAGE}")?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let [command, torrent, name, addresses @ ..] = words.as_slice() else {
        return Err(USAGE.into());
    };
    let addresses = addresses.iter().map(|addr| addr.parse());
    let addresses: Vec<SocketAddr> = addresses.collect::<Result<_, _>>()?;
    match (command.as_str(), addresses.as_slice()) {
        ("fetch", [_, ..]) => fetch(torrent, name, addresses),
        ("seed", []) => seed(torrent, name, ([127, 0, 0, 1], 0).into()),
        ("seed", [addr]) => seed(torrent, name, *addr),
        _ => Err(USAGE.into()),
    }
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torrent: {error}");
            ExitCode::FAILURE
        }
    }
}
