//! Two connections between the same two nodes.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::util::raw;
use crate::util::sessions::untimed;
use crate::util::turn;
use peerloop::DisconnectReason;

const KEPT: DisconnectReason =
    DisconnectReason::Application("another connection with this node is kept");

fn new_member(id: u8) -> (TestNode, SocketAddr, Peers) {
    let peers = Peers::new(hello(id));
    let (node, addr) = listening(untimed(), member(&peers));
    (node, addr, peers)
}

/// Whether one connection is left, and none is in its handshake.
fn is_settled(node: &mut TestNode) -> bool {
    let net = node.net();
    net.connecting_count() == 0 && net.connection_count() == 1
}

/// Asserts that two nodes keep the two ends of one connection. Returns them.
#[track_caller]
fn assert_same(ends: [(&mut TestNode, &Peers, u8); 2]) -> [ConnId; 2] {
    let [(conn_a, a), (conn_b, b)] = ends.map(|(node, peers, other)| {
        let conn = peers.find(&[other; 32]).expect("a peer");
        assert_eq!(peers.list(), [([other; 32], conn)]);
        assert_eq!((peers.len(), peers.node_of(conn)), (1, Some([other; 32])));
        let view = node.net().connections().next().expect("a connection");
        assert_eq!(view.id(), conn);
        (conn, view.info())
    });
    assert_eq!(Some(a.addr), b.local_addr);
    assert_eq!(a.local_addr, Some(b.addr));
    [conn_a, conn_b]
}

#[test]
fn connects_at_once_leave_one_connection() {
    for (first, second) in [(1, 2), (2, 1)] {
        for head_start in 0..8 {
            let (mut a, addr_of_a, peers_of_a) = new_member(first);
            let (mut b, addr_of_b, peers_of_b) = new_member(second);
            a.net().connect(addr_of_b).expect("a connect");
            b.net().connect(addr_of_a).expect("a connect");
            for _ in 0..head_start {
                let _ = turn(&mut a, Some(Duration::from_millis(1)));
            }
            run_until([&mut a, &mut b], |nodes| {
                nodes.iter_mut().all(|node| is_settled(node))
            });
            assert_same([(&mut a, &peers_of_a, second), (&mut b, &peers_of_b, first)]);
        }
    }
}

#[test]
fn connection_that_works_is_not_replaced() {
    for (first, second) in [(1, 2), (2, 1)] {
        let (mut a, _, peers_of_a) = new_member(first);
        let (mut b, addr, peers_of_b) = new_member(second);
        let old = a.net().connect(addr).expect("a connect");
        run_until([&mut a, &mut b], |nodes| {
            nodes.iter_mut().all(|node| is_settled(node))
        });
        for _ in 0..3 {
            let mut options = a.connect_options();
            options.allow_duplicate = true;
            let conn = a.net().connect_with(addr, options).expect("a connect");
            run_until([&mut a, &mut b], |nodes| {
                nodes.iter_mut().all(|node| is_settled(node))
            });
            let ended = a.handler().ended(conn);
            assert!(
                matches!(ended, None | Some(KEPT | DisconnectReason::Reset)),
                "{ended:?}"
            );
            let ends = [(&mut a, &peers_of_a, second), (&mut b, &peers_of_b, first)];
            assert_eq!(assert_same(ends)[0], old);
        }
    }
}

#[test]
fn restarted_peer_replaces_its_connection() {
    let (mut node, addr, peers) = new_member(5);
    for id in [4, 6] {
        let mut old = raw::connect(addr);
        let conn = accepted(&mut node, &mut old, &RawHello::new(id));
        assert_eq!(peers.find(&[id; 32]), Some(conn));
        let mut restarted = RawHello::new(id);
        restarted.nonce += 1;
        let mut new = raw::connect(addr);
        let newer = accepted(&mut node, &mut new, &restarted);
        assert_eq!(raw::until_ended(&mut node, conn), KEPT);
        assert_eq!(peers.find(&[id; 32]), Some(newer));
        assert_eq!(peers.node_of(conn), None);
        drop(new);
        raw::until_ended(&mut node, newer);
        assert_eq!((peers.find(&[id; 32]), peers.is_empty()), (None, true));
    }
}

#[test]
fn closing_connection_is_replaced_not_aborted() {
    let (mut node, addr, peers) = new_member(5);
    let mut old = raw::connect(addr);
    let conn = accepted(&mut node, &mut old, &RawHello::new(4));
    node.net()
        .send_and_close(conn, b"the last message")
        .expect("room");
    let mut duplicate = RawHello::new(4);
    duplicate.number = 1;
    let mut new = raw::connect(addr);
    new.write_all(&duplicate.answered(1)).expect("room");
    run_until([&mut node], |[node]| node.handler().connected().len() == 2);
    let newer = node.handler().connected()[1];
    assert_eq!(peers.find(&[4; 32]), Some(newer));
    drop(old);
    assert_ne!(raw::until_ended(&mut node, conn), KEPT);
}

#[test]
fn connection_without_hello_is_left_alone() {
    let peers = Peers::new(hello(5));
    let (mut node, addr) = listening(untimed(), Recorder::default());
    let (conn, _peer) = raw::join(&mut node, addr);
    assert_eq!(peers.connected(node.net(), conn), TieBreak::NoHello);
    assert_eq!(peers.disconnected(conn), None);
    assert_eq!(node.net().connection_count(), 1);
}

#[test]
fn further_call_keeps_the_connection() {
    let (mut node, addr, peers) = new_member(1);
    let mut peer = raw::connect(addr);
    let conn = accepted(&mut node, &mut peer, &RawHello::new(2));
    assert_eq!(peers.connected(node.net(), conn), TieBreak::First);
    assert!(is_settled(&mut node));
    assert_eq!(peers.find(&[2; 32]), Some(conn));
}
