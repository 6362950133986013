//! A distributed hash table: nodes find the values that others have stored, also
//! after some of the nodes have vanished.
//!
//! ```text
//! cargo run --release --example kademlia_dht
//! ```
//!
//! The nodes run in one thread and exchange datagrams on 127.0.0.1. README.md
//! describes the protocol; `simulated.rs` runs the same nodes in the simulator.

mod dht;
mod routing;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::error::Error;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use peerloop::group::{Group, MemberId};
use peerloop::hello::random_nonce;
use peerloop::{Config, Net, RunEnd};
use sha2::{Digest, Sha256};

use dht::Dht;
use routing::{K, Lookup};
use wire::{Contact, Id};

const NODES: usize = 32;

/// However the nodes are chosen, one of the [`K`] copies of each value remains, and
/// one contact of each full bucket and of each full answer. So a lookup always comes
/// closer to its key, until it is at the closest node, which has a copy.
const VANISH: usize = K - 1;

const TEXTS: [&str; 6] = ["alder", "birch", "cedar", "hazel", "maple", "rowan"];

/// How long the program waits for one step.
const PATIENCE: Duration = Duration::from_secs(20);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The first half of the hash of a name.
fn key(name: &str) -> Id {
    let hash = Sha256::digest(name);
    Id::from_be_bytes(std::array::from_fn(|at| hash[at]))
}

fn wait(group: &mut Group, what: &str, is_done: impl FnMut(&mut Group) -> bool) -> Result<()> {
    match group.run_until(PATIENCE, is_done)? {
        RunEnd::Done => Ok(()),
        _ => Err(format!("{what} took longer than {PATIENCE:?}").into()),
    }
}

/// Starts a node. Returns it, and how others reach it.
fn start(group: &mut Group, known: Vec<Contact>) -> Result<(MemberId<Dht>, Contact)> {
    let node = group.add(Config::default(), Dht::new(known, Box::new(random_nonce)))?;
    let addr = (Ipv4Addr::LOCALHOST, 0).into();
    let bound = group.with(node, |dht, net| dht.bind(net, addr));
    Ok((node, bound.ok_or("no such node")??))
}

/// Begins a lookup, and waits until it is over.
fn look_up(
    group: &mut Group,
    node: MemberId<Dht>,
    begin: impl FnOnce(&mut Dht, &mut Net) -> u64,
) -> Result<Lookup> {
    let number = group.with(node, begin).ok_or("no such node")?;
    let mut lookup = None;
    wait(group, "a lookup", |group| {
        let dht = group.handler_mut(node);
        lookup = dht.and_then(|dht| dht.finished.remove(&number));
        lookup.is_some()
    })?;
    lookup.ok_or_else(|| "no lookup".into())
}

/// Looks for each value from the other end of the list.
fn find_all(out: &mut impl Write, group: &mut Group, nodes: &[MemberId<Dht>]) -> Result<()> {
    for (text, node) in TEXTS.iter().zip(nodes.iter().rev()) {
        let found = look_up(group, *node, |dht, net| dht.find(net, key(text)))?;
        let (value, hops, requests) = (found.value, found.hops, found.requests);
        if value.as_deref() != Some(text) {
            return Err(format!("{value:?} was found for {text:?}").into());
        }
        writeln!(out, "found {text:?}: {hops} hops, {requests} requests")?;
    }
    Ok(())
}

fn run(out: &mut impl Write) -> Result<()> {
    let group = &mut Group::new()?;
    let (first, contact) = start(group, Vec::new())?;
    let mut nodes = vec![first];
    for _ in 1..NODES {
        nodes.push(start(group, vec![contact])?.0);
    }
    // Until each bucket is full or has all nodes of its range. The members of a large
    // bucket in young tables are the oldest nodes, which all vanish at once below.
    wait(group, "meeting", |group| {
        let dhts = || nodes.iter().filter_map(|node| group.handler(*node));
        dhts().all(|dht| dhts().all(|other| !dht.table.wants(other.table.own)))
    })?;
    writeln!(out, "{NODES} nodes, none of which lacks a contact")?;

    for (text, node) in TEXTS.iter().zip(&nodes) {
        let stored = look_up(group, *node, |dht, net| dht.store(net, key(text), text))?;
        let (copies, requests) = (stored.copies(), stored.requests);
        writeln!(out, "stored {text:?}: {copies} copies, {requests} requests")?;
    }
    find_all(out, group, &nodes)?;

    let oldest = nodes.drain(..VANISH);
    oldest.for_each(|node| drop(group.remove(node)));
    writeln!(out, "{VANISH} nodes vanish, the first included")?;
    find_all(out, group, &nodes)?;
    Ok(writeln!(out, "all values were found twice")?)
}

fn main() -> ExitCode {
    let names = ("kademlia_dht", "usage: kademlia_dht");
    support::run(names, &[], |_| run(&mut io::stdout()))
}
