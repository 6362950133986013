//! A node whose peers read rarely or not at all, and the send limit of its
//! loop. The handler compares the results of `Net` with the rule of
//! `Limits::loop_send_bytes`.

#![allow(unreachable_pub, reason = "a module of several tests")]

use std::collections::BTreeSet;
use std::time::Duration;

use peerloop::config::{ConnectionConfig, Limits, SendQueueConfig, Timeouts};
use peerloop::sim::{Faults, Random, World};
use peerloop::{Bytes, Config, ConnId, Handler, Net, SendError};

use super::streams::queued_bytes;

const PORT: u16 = 7000;

/// Below it, a message may be one of the small ones that need no room in common.
const LEN_MIN: u64 = 600;

/// Sends, and keeps the connections that wait for a drain.
#[derive(Default)]
struct Server {
    waiting: BTreeSet<ConnId>,
    refused: u64,
    broadcasts: u64,
}

impl Handler for Server {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_drain(&mut self, _: &mut Net, conn: ConnId) {
        self.waiting.remove(&conn);
    }
}

impl Server {
    fn act(&mut self, net: &mut Net, random: &mut Random) {
        let conns: Vec<ConnId> = net
            .connections()
            .map(|connection| connection.id())
            .collect();
        let limit = net.config().limits.loop_send_bytes;
        for _ in 0..random.between(1, 8) {
            let conn = conns[random.below(conns.len() as u64) as usize];
            let len = random.between(LEN_MIN, limit as u64 / 3) as usize;
            if random.chance(0.2) {
                self.broadcast(net, &conns, len);
            } else {
                self.send(net, conn, len, random.chance(0.5));
            }
        }
    }

    fn send(&mut self, net: &mut Net, conn: ConnId, len: usize, is_shared: bool) {
        let limit = net.config().limits.loop_send_bytes;
        let (queued, before) = (queued_bytes(net, conn), net.metrics().queued_bytes);
        let body = vec![7; len];
        let sent = if is_shared {
            net.send(conn, Bytes::from(body))
        } else {
            net.send(conn, &body)
        };
        let after = net.metrics().queued_bytes;
        match sent {
            Ok(()) if after == before => {}
            Ok(()) => {
                let is_below = queued + len + before <= limit / 4 * 3;
                assert!(before == 0 || is_below, "{queued} and {len} of {before}");
                let is_in_turn = queued == 0 || self.waiting.is_empty();
                assert!(is_in_turn, "{conn} grew while {:?} wait", self.waiting);
            }
            Err(error) => {
                assert_eq!(error, SendError::Full);
                assert_eq!(after, before, "it took nothing");
                self.waiting.insert(conn);
                self.refused += 1;
            }
        }
    }

    fn broadcast(&mut self, net: &mut Net, conns: &[ConnId], len: usize) {
        let before = net.metrics().queued_bytes;
        let were_empty = conns.iter().all(|conn| queued_bytes(net, *conn) == 0);
        let outcome = net.broadcast(conns.iter().copied(), Bytes::from(vec![8; len]));
        if outcome.full > 0 {
            // Those that were refused are not known, and need not be.
            return;
        }
        let charged = net.metrics().queued_bytes - before;
        if were_empty && len > 64 * 1024 {
            self.broadcasts += 1;
            assert!(charged < len + 1024 * conns.len(), "{charged} for {len}");
        }
    }
}

/// Reads when a test asks for it.
#[derive(Default)]
struct Peer {
    conn: Option<ConnId>,
}

impl Handler for Peer {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.conn = Some(conn);
        net.pause(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

fn config(limit: usize) -> Config {
    let mut config = Config {
        limits: Limits {
            loop_send_bytes: limit,
            ..Default::default()
        },
        connection: ConnectionConfig {
            send_queue: SendQueueConfig {
                high_bytes: limit,
                low_bytes: limit / 4,
                max_bytes: limit,
                ..Default::default()
            },
            // A peer that reads nothing is not ended here.
            timeouts: Timeouts {
                write_stall: None,
                partial_message: None,
                ..Timeouts::default()
            },
            ..Default::default()
        },
        ..Config::default()
    };
    config.sockets.send_buffer_bytes = Some(4096);
    config.sockets.receive_buffer_bytes = Some(4096);
    config
}

/// Returns how many sends were refused, and how many broadcasts were compared.
pub fn crowd(seed: u64) -> (u64, u64) {
    let mut world = World::new(seed);
    let mut random = Random::new(seed);
    world.faults(Faults::calm());
    let limit = random.between(256 * 1024, 4 * 1024 * 1024) as usize;
    let server = world.node(config(limit), Server::default());
    let addr = (world.ip(server), PORT);
    let listening = world.with(server, |_, net| net.listen(addr).map(|_| ()));
    listening.expect("the port is free");
    let peers: Vec<_> = (0..random.between(2, 6))
        .map(|_| world.node(config(limit), Peer::default()))
        .collect();
    for peer in &peers {
        let _ = world.with(*peer, |_, net| net.connect(addr));
    }
    world.run_for(Duration::from_secs(1));
    for _ in 0..random.between(5, 30) {
        world.with(server, |it, net| it.act(net, &mut random));
        world.run_for(Duration::from_millis(random.between(1, 50)));
        let peer = peers[random.below(peers.len() as u64) as usize];
        let reads = random.chance(0.5);
        world.with(peer, |it, net| {
            let conn = it.conn.expect("it is connected");
            if reads {
                net.resume(conn);
            } else {
                net.pause(conn);
            }
        });
    }
    for peer in &peers {
        world.with(*peer, |it, net| {
            net.resume(it.conn.expect("it is connected"))
        });
    }
    world.run_for(Duration::from_secs(600));
    world.with(server, |it, net| {
        assert_eq!(net.metrics().queued_bytes, 0, "all of it was read");
        assert!(it.waiting.is_empty(), "{:?} wait", it.waiting);
        (it.refused, it.broadcasts)
    })
}
