//! One node on several threads.

mod descriptors;
mod lifecycle;
mod limits;
mod placement;
mod queues;
mod remote;

use std::collections::HashSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::util::raw::{connect, connect_narrow};
use crate::util::sessions::{Greeting, MAGIC, Manner, with_sessions};
use crate::util::{Event, PATIENCE, Recorder, eventually, frame};
use peerloop::config::{
    CommandQueueConfig, ConnectionConfig, Limits, OnPanic, PrefixLimit, Timeouts,
};
use peerloop::framing::{ByteOrder, Framing, LengthPrefix};
use peerloop::shards::{Placement, ShardOptions, Shards, ShardsHandle};
use peerloop::{
    Body, Bytes, Config, ConnId, ConnectError, DisconnectReason, Net, SendError, ShardId,
};

type TestShards = Shards<Recorder>;

fn options(shards: usize, placement: Placement) -> ShardOptions {
    ShardOptions { shards, placement }
}

fn in_turn(shards: usize) -> ShardOptions {
    options(shards, Placement::RoundRobin)
}

/// Shards that listen.
fn listening(
    config: Config,
    options: ShardOptions,
    mut make: impl FnMut() -> Recorder,
) -> (TestShards, SocketAddr) {
    let shards = Shards::start(config, options, |_, _| make()).expect("shards");
    let addr = shards.listen("127.0.0.1:0").expect("a listener").addr;
    (shards, addr)
}

fn shard(index: usize) -> ShardId {
    ShardId::new(index).expect("a small number")
}

/// The value, once there is one.
fn eventually_some<T>(mut value: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    eventually(|| {
        found = value();
        found.is_some()
    });
    found.expect("it came about")
}

/// How many connections each shard has.
fn counts(handle: &ShardsHandle<Recorder>) -> Vec<usize> {
    handle.ask_all(|_, net| net.connection_count()).unwrap()
}

fn total(handle: &ShardsHandle<Recorder>) -> usize {
    counts(handle).iter().sum()
}

/// All connections, by the addresses of their peers.
fn connections(handle: &ShardsHandle<Recorder>) -> Vec<(SocketAddr, ConnId)> {
    let list = |_: &mut Recorder, net: &mut Net| {
        let named = net.connections().map(|c| (c.info().addr, c.id()));
        named.collect()
    };
    let lists: Vec<Vec<_>> = handle.ask_all(list).unwrap();
    lists.into_iter().flatten().collect()
}

/// Raw peers, one for each shard, and their names; for a node that gives connections away in turn.
fn one_each(shards: &TestShards, addr: SocketAddr) -> (Vec<TcpStream>, Vec<ConnId>) {
    let handle = shards.handle();
    let before = total(&handle);
    let peers: Vec<TcpStream> = handle.shards().map(|_| connect(addr)).collect();
    eventually(|| total(&handle) == before + peers.len());
    let all = connections(&handle);
    let mut pairs: Vec<(ConnId, TcpStream)> = Vec::new();
    for peer in peers {
        let addr = peer.local_addr().unwrap();
        let (_, conn) = all.iter().find(|(of, _)| *of == addr).expect("it is there");
        pairs.push((*conn, peer));
    }
    pairs.sort_by_key(|(conn, _)| conn.shard());
    let names: Vec<ConnId> = pairs.iter().map(|(conn, _)| *conn).collect();
    let each: Vec<ShardId> = names.iter().map(|conn| conn.shard()).collect();
    assert_eq!(each, handle.shards().collect::<Vec<_>>());
    (pairs.into_iter().map(|(_, peer)| peer).collect(), names)
}

/// The next message in the default framing.
#[track_caller]
fn message(peer: &mut TcpStream) -> Vec<u8> {
    let mut len = [0; 4];
    peer.read_exact(&mut len).expect("a message");
    let mut body = vec![0; u32::from_be_bytes(len) as usize];
    peer.read_exact(&mut body).expect("all of it");
    body
}

/// Nothing comes before the end of the stream.
#[track_caller]
fn ends(peer: &mut TcpStream) {
    let mut rest = Vec::new();
    match peer.read_to_end(&mut rest) {
        Ok(_) => assert_eq!(rest, b"", "nothing before the end"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

/// Stops all shards at once. Returns their handlers.
fn stop(shards: TestShards) -> Vec<Recorder> {
    shards.shutdown(Duration::ZERO);
    join(shards).expect("they stop")
}

/// Waits for them with a bound.
#[track_caller]
fn join(shards: TestShards) -> io::Result<Vec<Recorder>> {
    let (result, ended) = mpsc::channel();
    thread::spawn(move || result.send(shards.join()));
    ended.recv_timeout(PATIENCE).expect("they come to an end")
}

fn crowd_config(connections: usize) -> Config {
    Config {
        limits: Limits {
            max_connections_per_address: connections,
            ..Default::default()
        },
        read_buffer_bytes: 16 * 1024,
        ..Config::default()
    }
}

/// A shard in a call that ends when this is dropped.
struct Stuck {
    _release: mpsc::Sender<()>,
}

impl Stuck {
    fn new(handle: &ShardsHandle<Recorder>, shard: ShardId) -> Self {
        let (release, released) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        handle
            .post(shard, move |_, _| {
                begun.send(()).unwrap();
                let _ = released.recv_timeout(PATIENCE);
            })
            .unwrap();
        begins.recv_timeout(PATIENCE).expect("the shard runs");
        Self { _release: release }
    }
}
