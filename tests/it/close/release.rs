//! Every end releases the slot, the limits, the timeout and the queue.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::util::raw::{accepted, connect, connect_narrow, reset, settle};
use crate::util::sockets::refusing;
use crate::util::{Event, PATIENCE, Recorder, TestNode, config_with, listening, node, run_until};
use peerloop::error::TimeoutKind;
use peerloop::{Config, ConnId, ConnectError, DisconnectReason, Net};

const LIMIT: usize = 12;

type Peers = Vec<(ConnId, TcpStream)>;

fn config(linger: Duration) -> Config {
    config_with(|config| {
        config.limits.max_connections = LIMIT;
        config.limits.reserved_outbound = Some(0);
        config.allow_duplicates = true;
        // Small, so that something is queued when the end comes.
        config.sockets.send_buffer_bytes = Some(4096);
        config.connection.timeouts.connect = Some(Duration::from_millis(50));
        config.connection.timeouts.linger = Some(linger);
    })
}

fn ends(node: &TestNode) -> usize {
    let is_end = |event: &Event| matches!(event, Event::Disconnect(..) | Event::ConnectFailed(..));
    node.handler().count(is_end)
}

#[track_caller]
fn assert_nothing_is_held(node: &mut TestNode) {
    settle(node);
    let net = node.net();
    assert_eq!([net.connection_count(), net.connecting_count()], [0, 0]);
    assert_eq!(net.connections().count() + net.connecting().count(), 0);
    assert_eq!(net.metrics().queued_bytes, 0);
    assert_eq!(node.timeout(), None, "a deadline was left behind");
}

/// Returns a node with all connections that its limit allows, each with messages
/// in its queue, tracked and not.
fn full(linger: Duration) -> (TestNode, SocketAddr, Peers) {
    let (mut node, addr) = listening(config(linger), Recorder::default());
    let mut peers = Vec::new();
    for _ in 0..LIMIT {
        let peer = connect_narrow(addr);
        let conn = accepted(&mut node);
        node.net().send(conn, &[1; 100_000]).unwrap();
        node.net().send_tracked(conn, &[2; 20_000], 7).unwrap();
        node.net().send_tracked(conn, b"small", 8).unwrap();
        peers.push((conn, peer));
    }
    settle(&mut node);
    assert!(node.net().metrics().queued_bytes > LIMIT * 20_000);
    (node, addr, peers)
}

fn each(node: &mut TestNode, peers: &Peers, call: fn(&mut Net, ConnId)) {
    peers.iter().for_each(|(conn, _)| call(node.net(), *conn));
}

/// Reads everything in threads, so that the queues become empty.
fn read(peers: Peers) -> Peers {
    for (_, mut peer) in peers {
        std::thread::spawn(move || std::io::copy(&mut peer, &mut std::io::sink()));
    }
    Vec::new()
}

/// Ends all connections. Returns the peers that are to stay open.
type EndAll = fn(&mut TestNode, Peers) -> Peers;

const ENDS: [(&str, DisconnectReason, EndAll); 7] = [
    ("close", DisconnectReason::Local, |node, peers| {
        each(node, &peers, Net::close);
        read(peers)
    }),
    ("abort", DisconnectReason::Local, |node, peers| {
        each(node, &peers, Net::abort);
        Vec::new()
    }),
    (
        "abort while closing",
        DisconnectReason::Local,
        |node, peers| {
            each(node, &peers, Net::close);
            settle(node);
            each(node, &peers, Net::abort);
            Vec::new()
        },
    ),
    (
        "linger timeout",
        DisconnectReason::Timeout(TimeoutKind::Linger),
        |node, peers| {
            each(node, &peers, Net::close);
            peers
        },
    ),
    ("FIN", DisconnectReason::PeerClosed, |_, peers| {
        for (_, peer) in &peers {
            peer.shutdown(Shutdown::Write).unwrap();
        }
        read(peers)
    }),
    ("reset", DisconnectReason::Reset, |_, peers| {
        peers.into_iter().for_each(|(_, peer)| reset(peer));
        Vec::new()
    }),
    (
        "malformed frame",
        DisconnectReason::MessageTooLarge {
            len: u32::MAX as u64,
            max: 8 << 20,
        },
        |_, mut peers| {
            for (_, peer) in &mut peers {
                peer.write_all(&[255; 4]).unwrap();
            }
            peers
        },
    ),
];

#[test]
fn every_end_of_a_connection_releases_it() {
    for (name, reason, end) in ENDS {
        let linger = match reason {
            DisconnectReason::Timeout(_) => Duration::from_millis(20),
            _ => PATIENCE,
        };
        let (mut node, addr, peers) = full(linger);
        let conns: Vec<ConnId> = peers.iter().map(|(conn, _)| *conn).collect();
        let kept = end(&mut node, peers);
        run_until([&mut node], |[node]| ends(node) == LIMIT);
        for conn in conns {
            assert_eq!(node.handler().ended(conn), Some(reason), "{name}");
            let is_answer = |event: &Event| matches!(event, Event::Sent(from, ..) if *from == conn);
            assert_eq!(node.handler().count(is_answer), 2, "{name}");
        }
        assert_nothing_is_held(&mut node);
        drop(kept);
        // The same number is admitted again, no more and no fewer.
        let _peers = [(); LIMIT + 3].map(|()| connect(addr));
        run_until([&mut node], |[node]| {
            node.net().metrics().refused_by_total == 3
        });
        assert_eq!(node.net().connection_count(), LIMIT, "{name}");
    }
}

#[test]
fn shutdown_releases_every_connection() {
    for grace in [Duration::ZERO, Duration::from_millis(20)] {
        let (mut node, addr, _peers) = full(PATIENCE);
        node.net().shutdown(grace);
        node.run().unwrap();
        assert_eq!(ends(&node), LIMIT);
        assert_eq!(node.net().metrics().queued_bytes, 0);
        assert_eq!(node.net().connection_count(), 0);
        TcpListener::bind(addr).expect("the port is free");
    }
}

/// Connects as often as the limit allows, twice.
fn assert_released_after(addr: SocketAddr, end: fn(&mut TestNode, &[ConnId])) {
    let mut node = node(config(PATIENCE), Recorder::default());
    for round in 1..=2 {
        let connect = |_| node.net().connect(addr).expect("there is room");
        let connects: Vec<ConnId> = (0..LIMIT).map(connect).collect();
        let error = node.net().connect(addr);
        assert_eq!(error, Err(ConnectError::TooManyConnections));
        assert_eq!(node.net().connecting_count(), LIMIT);
        end(&mut node, &connects);
        run_until([&mut node], |[node]| ends(node) == round * LIMIT);
        assert_nothing_is_held(&mut node);
    }
}

#[test]
fn refused_connect_is_released() {
    let (_bound, addr) = refusing();
    assert_released_after(addr, |_, _| {});
}

#[test]
fn cancelled_connect_is_released() {
    let (_listener, addr) = listening(Config::default(), Recorder::default());
    assert_released_after(addr, |node, connects| {
        for (number, conn) in connects.iter().enumerate() {
            match number % 2 {
                0 => node.net().close(*conn),
                _ => node.net().abort(*conn),
            }
        }
    });
}
