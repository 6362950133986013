//! The handshake of the example of that name: whom it refuses, and which of two connections it keeps.

#[allow(dead_code, reason = "it has a `main` of its own")]
#[path = "../../examples/handshake.rs"]
mod example;

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::util::{Event, PATIENCE, Recorder, TestNode, listening, node, raw, run_until};
use example::{Handshake, Hello, MemberNode, is_settled, member};
use peerloop::error::SessionError;
use peerloop::{Config, ConnectError, ConnectionState, DisconnectReason};

#[test]
fn the_example_shows_every_refusal_and_ends() {
    let mut told = Vec::new();
    example::run(&mut told).unwrap();
    let told = String::from_utf8(told).unwrap();
    for line in [
        "the HTTP client is refused",
        "node 3: cannot connect: handshake: the peer was refused: another network",
        "node 1: an inbound connection fails: handshake: the peer was refused: another network",
        "node 1: cannot connect: handshake: the peer was refused: this node itself",
        "node 1: an inbound connection fails: handshake: the peer was refused: this node itself",
        "one connection remains: Some(Outbound)",
        "one connection remains: Some(Inbound)",
        "node 1: node 2 says \"good day\"",
        "node 2: node 1 says \"good day\"",
    ] {
        assert_eq!(told.matches(line).count(), 1, "{line}: {told}");
    }
}

/// Turns the nodes, `first` as often as asked before the other has its first turn.
fn run_members(nodes: [&mut MemberNode; 2], mut head_start: usize) {
    let [a, b] = nodes;
    let end = Instant::now() + PATIENCE;
    while !(is_settled(a) && is_settled(b)) {
        assert!(Instant::now() < end, "they do not come to rest");
        let _ = a.turn(Some(Duration::from_millis(1))).expect("a turn");
        if head_start > 0 {
            head_start -= 1;
            continue;
        }
        let _ = b.turn(Some(Duration::from_millis(1))).expect("a turn");
    }
}

#[test]
fn two_nodes_that_connect_to_each_other_at_once_keep_the_same_connection() {
    for (first, second) in [(1, 2), (2, 1)] {
        for head_start in 0..8 {
            let (mut a, addr_of_a) = member(Hello::new(7, first)).unwrap();
            let (mut b, addr_of_b) = member(Hello::new(7, second)).unwrap();
            a.net().connect(addr_of_b).unwrap();
            b.net().connect(addr_of_a).unwrap();
            run_members([&mut a, &mut b], head_start);
            let at_a = a.handler().link(second).expect("a connection");
            let at_b = b.handler().link(first).expect("a connection");
            let at_a = a.net().connection(at_a).unwrap();
            let at_b = b.net().connection(at_b).unwrap();
            assert_eq!(at_a.state(), ConnectionState::Connected);
            assert_eq!(at_b.state(), ConnectionState::Connected);
            let (at_a, at_b) = (at_a.info(), at_b.info());
            assert_eq!(
                Some(at_a.addr),
                at_b.local_addr,
                "two ends of one connection"
            );
            assert_eq!(
                at_a.local_addr,
                Some(at_b.addr),
                "two ends of one connection"
            );
        }
    }
}

/// The two ends may see them come about in different orders, so one end decides and the other follows.
#[test]
fn of_two_connections_the_smaller_id_keeps_the_newest_and_the_larger_waits() {
    for (theirs, order) in [(1, [0, 1]), (1, [1, 0]), (3, [0, 1]), (3, [1, 0])] {
        let (mut node, addr) = member(Hello::new(7, 2)).unwrap();
        let hello = Hello::new(7, theirs).encode();
        let mut peers = vec![raw::connect(addr), raw::connect(addr)];
        run_members_until(&mut node, |node| node.net().connecting_count() == 2);
        for (left, which) in [1, 0].into_iter().zip(order) {
            peers[which].write_all(&hello).unwrap();
            run_members_until(&mut node, |node| node.net().connecting_count() == left);
        }
        let [older, newer] = order.map(|which| peers[which].local_addr().unwrap());
        let surplus = if theirs == 1 {
            newer
        } else {
            // It is closing, and waits for its peer.
            run_members_until(&mut node, |node| node.net().find(older).is_none());
            older
        };
        peers.retain(|peer| peer.local_addr().unwrap() != surplus);
        run_members_until(&mut node, is_settled);
        let link = node.handler().link(theirs).expect("a connection");
        let kept = node.net().connection(link).map(|it| it.info().addr);
        assert_eq!(kept, Some(if theirs == 1 { older } else { newer }));
    }
}

fn run_members_until(node: &mut MemberNode, condition: impl Fn(&mut MemberNode) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition(node) {
        assert!(Instant::now() < end, "it does not come about");
        let _ = node.turn(Some(Duration::from_millis(1))).expect("a turn");
    }
}

#[test]
fn who_comes_back_replaces_the_connection_that_it_lost() {
    for (first, second) in [(1, 2), (2, 1)] {
        let (mut a, _) = member(Hello::new(7, first)).unwrap();
        let (mut b, addr) = member(Hello::new(7, second)).unwrap();
        let other_addr = b.net().listen("127.0.0.1:0").unwrap().addr;
        let old = a.net().connect(addr).unwrap();
        let end = Instant::now() + PATIENCE;
        let mut new = None;
        while !(is_settled(&mut a) && is_settled(&mut b)) {
            assert!(Instant::now() < end, "they do not come to rest");
            let _ = a.turn(Some(Duration::from_millis(1))).expect("a turn");
            let _ = b.turn(Some(Duration::from_millis(1))).expect("a turn");
            if new.is_none()
                && a.handler().link(second) == Some(old)
                && b.handler().link(first).is_some()
            {
                new = Some(a.net().connect(other_addr).unwrap());
            }
        }
        assert_eq!(a.handler().link(second), new);
        assert!(a.handler().story.iter().all(|line| !line.contains("gone")));
    }
}

/// A handler that says this.
fn saying(hello: Hello) -> Recorder {
    Recorder {
        sessions: Box::new(move |_, _| Ok(Some(Box::new(Handshake::new(hello))))),
        ..Recorder::default()
    }
}

/// The error of the one connection that a node ever had.
fn only_failure(node: &mut TestNode) -> ConnectError {
    assert_eq!(node.net().metrics().handshakes_failed, 1);
    match node.handler().events[..] {
        [Event::Start, Event::ConnectFailed(_, error)] => error,
        ref events => panic!("{events:?}"),
    }
}

#[test]
fn each_refusal_has_its_reason() {
    let ours = Hello::new(7, 1);
    let with = |change: fn(&mut Hello)| {
        let mut theirs = Hello::new(7, 2);
        change(&mut theirs);
        theirs
    };
    for (theirs, why) in [
        (with(|hello| hello.version += 1), "another version"),
        (with(|hello| hello.network += 1), "another network"),
        (with(|hello| hello.id = 1), "another node with the same id"),
        (ours, "this node itself"),
    ] {
        let mut a = node(Config::default(), saying(ours));
        let (mut b, addr) = listening(Config::default(), saying(theirs));
        let conn = a.net().connect(addr).unwrap();
        run_until([&mut a, &mut b], |[a, b]| {
            a.handler().events.len() == 2 && b.handler().events.len() == 2
        });
        let error = ConnectError::Session(SessionError::Refused(why));
        assert_eq!(a.handler().events[1], Event::ConnectFailed(conn, error));
        assert_eq!(only_failure(&mut b), error);
    }
}

#[test]
fn a_node_that_reaches_itself_notices() {
    let config = Config {
        allow_self_connections: true,
        ..Config::default()
    };
    let (mut node, addr) = listening(config, saying(Hello::new(7, 1)));
    let conn = node.net().connect(addr).unwrap();
    run_until([&mut node], |[node]| {
        node.net().metrics().handshakes_failed == 2
    });
    run_until([&mut node], |[node]| node.handler().events.len() == 3);
    let refused = ConnectError::Session(SessionError::Refused("this node itself"));
    let mut failed = Vec::new();
    for event in &node.handler().events[1..] {
        match *event {
            Event::ConnectFailed(conn, error) if error == refused => failed.push(conn),
            _ => panic!("{event:?}"),
        }
    }
    assert!(failed[0] != failed[1] && failed.contains(&conn));
}

#[test]
fn a_stranger_is_refused_at_the_first_wrong_byte() {
    for bytes in [&b"x"[..], b"lo0", b"GET / HTTP/1.1\r\n"] {
        let (mut node, addr) = listening(Config::default(), saying(Hello::new(7, 1)));
        let mut stranger = raw::connect(addr);
        stranger.write_all(bytes).unwrap();
        run_until([&mut node], |[node]| {
            node.net().metrics().handshakes_failed == 1
        });
        // Its end is awaited before the failure is reported.
        drop(stranger);
        run_until([&mut node], |[node]| node.handler().events.len() == 2);
        let refused = ConnectError::Session(SessionError::Refused("another protocol"));
        assert_eq!(only_failure(&mut node), refused);
    }
}

#[test]
fn a_hello_that_stops_after_any_byte_is_one_failed_handshake() {
    let said = Hello::new(7, 2).encode();
    assert_eq!(said.len(), Hello::LEN);
    for stop in 0..said.len() {
        let (mut node, addr) = listening(Config::default(), saying(Hello::new(7, 1)));
        let mut peer = raw::connect(addr);
        peer.write_all(&said[..stop]).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        run_until([&mut node], |[node]| node.handler().events.len() == 2);
        let ended = ConnectError::Io(ErrorKind::UnexpectedEof.into());
        assert_eq!(only_failure(&mut node), ended);
        let mut heard = Vec::new();
        if let Err(error) = peer.read_to_end(&mut heard) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    }
}

#[test]
fn what_comes_with_the_hello_is_delivered_and_answered_plainly() {
    let mut recorder = Recorder::echo();
    let ours = Hello::new(7, 1);
    recorder.sessions = Box::new(move |_, _| Ok(Some(Box::new(Handshake::new(ours)))));
    let (mut node, addr) = listening(Config::default(), recorder);
    let theirs = Hello::new(7, 2);
    let mut peer = raw::connect(addr);
    let bytes = [&theirs.encode()[..], b"\0\0\0\x05plain"].concat();
    peer.write_all(&bytes).unwrap();
    run_until([&mut node], |[node]| node.handler().events.len() == 3);
    let conn = node.handler().connected()[0];
    assert_eq!(node.handler().messages(conn), [b"plain"]);
    let connection = node.net().connection(conn).unwrap();
    let identity = connection.identity().unwrap();
    assert_eq!(identity.payload, theirs.encode());
    let mut heard = [0; Hello::LEN + 9];
    raw::settle(&mut node);
    peer.read_exact(&mut heard).unwrap();
    assert_eq!(Hello::decode(&heard), Some(ours));
    assert_eq!(&heard[Hello::LEN..], b"\0\0\0\x05plain");
    drop(peer);
    assert_eq!(
        raw::until_ended(&mut node, conn),
        DisconnectReason::PeerClosed
    );
}
