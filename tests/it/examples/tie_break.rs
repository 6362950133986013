//! The example `handshake`: two nodes with two connections keep the same one.

#[allow(dead_code, reason = "the `main` of the example")]
#[path = "../../../examples/handshake.rs"]
mod example;

use std::io::Write;
use std::time::{Duration, Instant};

use crate::util::{PATIENCE, raw};
use example::{Hello, MemberNode, is_settled, member};
use peerloop::ConnectionState;

/// Turns nodes until the condition holds, which is checked before each turn of all.
fn run_until<const N: usize>(
    mut nodes: [&mut MemberNode; N],
    mut condition: impl FnMut(&mut [&mut MemberNode; N]) -> bool,
) {
    let end = Instant::now() + PATIENCE;
    while !condition(&mut nodes) {
        assert!(Instant::now() < end, "the condition does not hold");
        for node in &mut nodes {
            let _ = node.turn(Some(Duration::from_millis(1))).expect("a turn");
        }
    }
}

fn new_member(id: u64) -> (MemberNode, std::net::SocketAddr) {
    member(Hello::new(7, id)).expect("a node")
}

#[test]
fn connects_at_once_leave_one_connection() {
    for (first, second) in [(1, 2), (2, 1)] {
        for head_start in 0..8 {
            let (mut a, addr_of_a) = new_member(first);
            let (mut b, addr_of_b) = new_member(second);
            a.net().connect(addr_of_b).expect("a connect");
            b.net().connect(addr_of_a).expect("a connect");
            for _ in 0..head_start {
                let _ = a.turn(Some(Duration::from_millis(1))).expect("a turn");
            }
            run_until([&mut a, &mut b], |[a, b]| is_settled(a) && is_settled(b));
            let [at_a, at_b] = [(&mut a, second), (&mut b, first)].map(|(node, other)| {
                let link = node.handler().link(other).expect("a connection");
                let view = node.net().connection(link).expect("a connection");
                assert_eq!(view.state(), ConnectionState::Connected);
                view.info()
            });
            // They are the two ends of one connection.
            assert_eq!(Some(at_a.addr), at_b.local_addr);
            assert_eq!(at_a.local_addr, Some(at_b.addr));
        }
    }
}

/// Both ends may see two connections in different orders, so one of them decides.
#[test]
fn smaller_id_keeps_newest_and_larger_waits() {
    for (theirs, order) in [(1, [0, 1]), (1, [1, 0]), (3, [0, 1]), (3, [1, 0])] {
        let (mut node, addr) = new_member(2);
        let hello = Hello::new(7, theirs).encode();
        let mut peers = vec![raw::connect(addr), raw::connect(addr)];
        run_until([&mut node], |[node]| node.net().connecting_count() == 2);
        for (left, which) in [1, 0].into_iter().zip(order) {
            peers[which].write_all(&hello).expect("room");
            run_until([&mut node], |[node]| node.net().connecting_count() == left);
        }
        let [older, newer] = order.map(|which| peers[which].local_addr().expect("an address"));
        let surplus = if theirs == 1 {
            newer
        } else {
            // It is closing, and waits for its peer.
            run_until([&mut node], |[node]| node.net().find(older).is_none());
            older
        };
        peers.retain(|peer| peer.local_addr().expect("an address") != surplus);
        run_until([&mut node], |[node]| is_settled(node));
        let link = node.handler().link(theirs).expect("a connection");
        let kept = node.net().connection(link).map(|view| view.info().addr);
        assert_eq!(kept, Some(if theirs == 1 { older } else { newer }));
    }
}

#[test]
fn new_connection_replaces_a_lost_one() {
    for (first, second) in [(1, 2), (2, 1)] {
        let (mut a, _) = new_member(first);
        let (mut b, addr) = new_member(second);
        let other_addr = b.net().listen("127.0.0.1:0").expect("a listener").addr;
        let old = a.net().connect(addr).expect("a connect");
        run_until([&mut a, &mut b], |[a, b]| {
            a.handler().link(second) == Some(old) && b.handler().link(first).is_some()
        });
        let new = a.net().connect(other_addr).expect("a connect");
        run_until([&mut a, &mut b], |[a, b]| is_settled(a) && is_settled(b));
        assert_eq!(a.handler().link(second), Some(new));
        assert!(a.handler().story.iter().all(|line| !line.contains("gone")));
    }
}
