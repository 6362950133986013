//! Places for handshakes: how they are given back, and peers beside a flood.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::util::sessions::{Greeting, MAGIC, Manner, Xor, greeting, untimed, with_sessions};
use crate::util::{Recorder, TestNode, frame, listening, node, raw, run_until};

/// Waits until the node has refused one more connection.
fn assert_refused(node: &mut TestNode, peer: &mut TcpStream) {
    let refused = node.net().metrics().refused_by_handshakes;
    run_until([node], |[node]| {
        node.net().metrics().refused_by_handshakes > refused
    });
    let count = peer.read_to_end(&mut Vec::new());
    assert_eq!(count.expect("the end of the stream"), 0);
}

#[test]
fn place_is_free_however_its_handshake_ends() {
    for limit in [1, 2, 7] {
        let mut config = untimed();
        config.limits.max_inbound_handshakes = limit;
        let (mut node, addr) = listening(config, greeting(Recorder::default()));
        let mut peers: Vec<_> = (0..limit).map(|_| raw::connect(addr)).collect();
        for number in 0..20 {
            run_until([&mut node], |[node]| node.net().connecting_count() == limit);
            assert_refused(&mut node, &mut raw::connect(addr));
            assert_eq!(node.net().connecting_count(), limit);
            let mut peer = peers.remove(0);
            match number % 4 {
                0 => peer.write_all(&MAGIC).expect("room"),
                1 => peer.write_all(b"junk").expect("room"),
                2 => raw::reset(peer),
                _ => {
                    let local = peer.local_addr().expect("a connection");
                    let conn = node.net().find(local).expect("a connection");
                    node.net().close(conn);
                }
            }
            run_until([&mut node], |[node]| node.net().connecting_count() < limit);
            peers.push(raw::connect(addr));
        }
        assert_eq!(node.handler().connected().len(), 5, "limit {limit}");
        let metrics = node.net().metrics();
        let ended = (metrics.handshakes_failed, metrics.handshakes_evicted);
        assert_eq!(ended, (35, 0));
    }
}

#[test]
fn connect_needs_no_inbound_place() {
    let mut config = untimed();
    config.limits.max_inbound_handshakes = 1;
    let (mut node, addr) = listening(config, greeting(Recorder::default()));
    let _stalled = raw::connect(addr);
    run_until([&mut node], |[node]| node.net().connecting_count() == 1);
    let (mut other, elsewhere) = listening(untimed(), greeting(Recorder::default()));
    let conn = node.net().connect(elsewhere).expect("a connect");
    run_until([&mut node, &mut other], |[node, _]| {
        node.handler().connected() == [conn]
    });
}

#[test]
fn connect_frees_its_place_when_handshake_ends() {
    for manner in [Manner::Agrees, Manner::Rejects] {
        let mut config = untimed();
        config.limits.max_outbound_connecting = 1;
        let mut a = node(config, greeting(Recorder::default()));
        for round in 1..=3 {
            let recorder = with_sessions(Recorder::default(), move |_| Greeting::new(manner));
            let (mut b, addr) = listening(untimed(), recorder);
            a.net().connect(addr).expect("a free place");
            run_until([&mut a, &mut b], |[a, _]| {
                let failed = a.net().metrics().connects_failed as usize;
                a.handler().connected().len() + failed == round
            });
            assert_eq!(a.net().connecting_count(), 0);
        }
    }
}

/// Returns the number of turns that the node needs to answer a peer.
fn turns_to_answer(node: &mut TestNode, peer: &mut TcpStream) -> u64 {
    let mut answer = [0; 8];
    let before = node.net().metrics().turns;
    peer.write_all(&frame(b"ping")).expect("room");
    run_until([node], |_| {
        peer.read(&mut answer).is_ok_and(|count| count == 8)
    });
    assert_eq!(answer[..], frame(b"ping"));
    node.net().metrics().turns - before
}

fn percentile_99(mut turns: Vec<u64>) -> u64 {
    turns.sort_unstable();
    turns[turns.len() * 99 / 100]
}

/// Returns the 99th percentiles of the turns to an answer, without and with a flood of
/// a thousand incomplete handshakes. The length of a turn is tested in the simulator.
fn turns_quiet_and_flooded() -> (u64, u64) {
    let receives = Arc::new(AtomicUsize::new(0));
    let count = receives.clone();
    let mut recorder = Recorder::echo();
    let mut is_first = true;
    recorder.sessions = Box::new(move |net, conn| {
        if std::mem::take(&mut is_first) {
            return Ok(None);
        }
        let view = net.connection(conn).expect("the connection in question");
        let mut session = Xor::new(view.info().direction);
        session.receives = count.clone();
        Ok(Some(Box::new(session)))
    });
    let mut config = untimed();
    config.limits.max_connections_per_address = 2000;
    let (mut node, addr) = listening(config, recorder);
    let (_, mut plain) = raw::join(&mut node, addr);
    plain.set_nonblocking(true).expect("a socket");
    let quiet = (0..100).map(|_| turns_to_answer(&mut node, &mut plain));
    let quiet = percentile_99(quiet.collect());
    let mut flooded = Vec::new();
    for _ in 0..10 {
        let peers: Vec<_> = (0..100)
            .map(|_| {
                let mut peer = raw::connect(addr);
                peer.write_all(b"xor").expect("room");
                peer
            })
            .collect();
        for _ in 0..10 {
            flooded.push(turns_to_answer(&mut node, &mut plain));
        }
        drop(peers);
        run_until([&mut node], |[node]| node.net().connecting_count() == 0);
    }
    run_until([&mut node], |[node]| {
        node.net().metrics().handshakes_failed == 1000
    });
    assert!(receives.load(Ordering::Relaxed) > 0);
    (quiet, percentile_99(flooded))
}

#[test]
fn peer_is_answered_beside_a_flood_of_handshakes() {
    // An answer may be late because of other programs, but not three times in a row.
    let mut turns = Vec::new();
    for _ in 0..3 {
        let (quiet, flooded) = turns_quiet_and_flooded();
        if flooded <= 5 * quiet {
            return;
        }
        turns.push((quiet, flooded));
    }
    panic!("turns until the answer, quiet and flooded: {turns:?}");
}
