//! Each callback panics, twice in a row on one node.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use peerloop::{Admission, ConnId, ConnInfo, DisconnectReason, Handler, Net, Node};

use super::{Selects, assert_served, config, is_closed, panic_quietly, panicking};
use crate::util::raw::{connect, join, settle, until_ended};
use crate::util::sockets::refusing;
use crate::util::streams::ends;
use crate::util::{Event, PATIENCE, TestNode, frame, run_for, run_until};

/// Makes the node call a callback of this connection.
type Provoke = fn(&mut TestNode, ConnId, &mut TcpStream);

/// Makes the node call a callback of no connection.
type ProvokeApart = fn(&mut TestNode, SocketAddr);

const OF_A_CONNECTION: [(Selects, Provoke); 5] = [
    (
        |event| matches!(event, Event::Message(..)),
        |node, conn, peer| {
            let two = [frame(b"one"), frame(b"two")].concat();
            peer.write_all(&two).unwrap();
            until_ended(node, conn);
            assert_eq!(node.handler().messages(conn), [b"one"]);
        },
    ),
    (
        |event| matches!(event, Event::Message(..)),
        |node, conn, peer| {
            node.net().pause(conn);
            peer.write_all(&frame(b"one")).unwrap();
            run_for(Duration::from_millis(5), [node]);
            node.net().resume(conn);
        },
    ),
    (
        |event| matches!(event, Event::Drain(_)),
        |node, conn, _| node.net().send(conn, &[7; 2048]).unwrap(),
    ),
    (
        |event| matches!(event, Event::Sent(..)),
        |node, conn, _| {
            for token in 0..3 {
                node.net().send_tracked(conn, b"x", token).unwrap();
            }
            until_ended(node, conn);
            let is_own = |event: &Event| matches!(event, Event::Sent(which, ..) if *which == conn);
            assert_eq!(node.handler().count(is_own), 3, "each token is reported");
        },
    ),
    (
        |event| matches!(event, Event::ReadClosed(_)),
        |_, _, peer| peer.shutdown(Shutdown::Write).unwrap(),
    ),
];

#[test]
fn panic_for_a_connection_ends_only_that() {
    for (case, (selects, provoke)) in OF_A_CONNECTION.into_iter().enumerate() {
        let (mut node, addr, trigger) = panicking(config());
        let (_, mut honest) = join(&mut node, addr);
        for times in 1..=2 {
            let (conn, mut peer) = join(&mut node, addr);
            trigger.arm(selects);
            provoke(&mut node, conn, &mut peer);
            let reason = until_ended(&mut node, conn);
            assert_eq!(reason, DisconnectReason::HandlerPanicked, "case {case}");
            assert!(is_closed(&mut peer));
            run_for(Duration::from_millis(5), [&mut node]);
            let last = Event::Disconnect(conn, reason);
            assert_eq!(node.handler().events.last(), Some(&last), "case {case}");
            assert_eq!(ends(&node), times);
            assert_eq!(node.net().metrics().panics, times as u64);
            assert_served(&mut node, &mut honest);
            assert_eq!(node.net().connection_count(), 1);
        }
    }
}

#[test]
fn panic_in_on_connect_ends_the_connection() {
    let (mut node, addr, trigger) = panicking(config());
    let (_, mut honest) = join(&mut node, addr);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    for times in 1..=4 {
        let is_inbound = times % 2 == 0;
        trigger.arm(|event| matches!(event, Event::Connect(_)));
        let mut peer = if is_inbound {
            let mut peer = connect(addr);
            peer.write_all(&frame(b"too late")).unwrap();
            peer
        } else {
            node.net().connect(other.local_addr().unwrap()).unwrap();
            let _ = node.turn(Some(Duration::ZERO)).unwrap();
            other.accept().unwrap().0
        };
        run_until([&mut node], |[node]| ends(node) == times);
        assert!(is_closed(&mut peer));
        let events = &node.handler().events;
        let conn = *node.handler().connected().last().unwrap();
        let end = Event::Disconnect(conn, DisconnectReason::HandlerPanicked);
        assert_eq!(events[events.len() - 2..], [Event::Connect(conn), end]);
        assert_eq!(node.net().metrics().panics, times as u64);
        assert_served(&mut node, &mut honest);
    }
}

/// Connects to an address without a listener.
fn connect_in_vain(node: &mut TestNode, _: SocketAddr) {
    let (_socket, addr) = refusing();
    node.net().connect(addr).unwrap();
    let failures = |node: &TestNode| {
        let is_failure = |event: &Event| matches!(event, Event::ConnectFailed(..));
        node.handler().count(is_failure)
    };
    let before = failures(node);
    run_until([node], |[node]| failures(node) > before);
}

const OF_NO_CONNECTION: [(Selects, ProvokeApart); 4] = [
    (|event| *event == Event::Start, |_, _| {}),
    (
        |event| matches!(event, Event::ConnectFailed(..)),
        connect_in_vain,
    ),
    (
        |event| matches!(event, Event::Disconnect(..)),
        |node, addr| {
            let (conn, _peer) = join(node, addr);
            node.net().abort(conn);
            until_ended(node, conn);
        },
    ),
    (
        |event| matches!(event, Event::Timer(..)),
        |node, _| {
            let timers = |node: &TestNode| {
                let is_timer = |event: &Event| matches!(event, Event::Timer(..));
                node.handler().count(is_timer)
            };
            let before = timers(node);
            for key in 0..3 {
                node.net().set_timer(Duration::ZERO, key);
            }
            run_until([node], |[node]| timers(node) == before + 3);
        },
    ),
];

#[test]
fn panic_for_no_connection_ends_nothing() {
    for (case, (selects, provoke)) in OF_NO_CONNECTION.into_iter().enumerate() {
        let (mut node, addr, trigger) = panicking(config());
        let is_start = selects(&Event::Start);
        if is_start {
            trigger.arm(selects);
        }
        let (_, mut honest) = join(&mut node, addr);
        let times = if is_start { 1 } else { 2 };
        for _ in 0..times {
            if !is_start {
                trigger.arm(selects);
            }
            provoke(&mut node, addr);
            settle(&mut node);
            assert!(!trigger.is_armed(), "case {case}");
            assert_served(&mut node, &mut honest);
            assert_eq!(node.net().connection_count(), 1);
            assert_eq!(node.net().connecting_count(), 0);
        }
        assert_eq!(node.net().metrics().panics, times, "case {case}");
        assert_eq!(node.handler().count(|event| *event == Event::Start), 1);
    }
}

#[test]
fn panic_in_a_posted_call_ends_nothing() {
    let (mut node, addr, _) = panicking(config());
    let (_, mut honest) = join(&mut node, addr);
    let handle = node.handle();
    for _ in 0..2 {
        handle.post(|_, _| panic_quietly()).unwrap();
    }
    run_until([&mut node], |[node]| node.net().metrics().panics == 2);
    assert_served(&mut node, &mut honest);
}

/// Panics in the first calls of `on_accept` and `on_turn`.
struct Unsteady {
    accepts: usize,
    turns: usize,
    messages: usize,
}

impl Handler for Unsteady {
    fn on_accept(&mut self, _: &mut Net, _: &ConnInfo) -> Admission {
        self.accepts += 1;
        if self.accepts <= 2 {
            panic_quietly();
        }
        Admission::Admit
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {
        self.messages += 1;
    }

    fn on_turn(&mut self, _: &mut Net) {
        self.turns += 1;
        if self.turns <= 2 {
            panic_quietly();
        }
    }
}

#[test]
fn panic_in_on_accept_refuses_the_connection() {
    let handler = Unsteady {
        accepts: 0,
        turns: 0,
        messages: 0,
    };
    let mut node = Node::new(config(), handler).unwrap();
    let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
    for accepts in 1..=2 {
        let mut peer = connect(addr);
        let end = node.run_until(PATIENCE, |it, _| it.accepts == accepts);
        assert_eq!(end.unwrap(), peerloop::RunEnd::Done);
        assert!(is_closed(&mut peer));
        assert_eq!(node.net().connection_count(), 0);
    }
    connect(addr).write_all(&frame(b"x")).unwrap();
    let end = node.run_until(PATIENCE, |it, _| it.messages == 1);
    assert_eq!(end.unwrap(), peerloop::RunEnd::Done);
    assert_eq!(node.net().metrics().panics, 4);
}
