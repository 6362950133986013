//! From connect to disconnect, on real sockets.

use peerloop::config::SocketConfig;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::util::{Event, Recorder, TestNode, listening, node, pair, raw, run_until};
use peerloop::topology::Topology;
use peerloop::{Config, ConnectError, ConnectionState, Direction, DisconnectReason};

#[test]
fn a_connection_begins_talks_and_ends_in_order_on_both_sides() {
    let (mut a, to_b, mut b, to_a) = pair(Config::default(), Recorder::default(), Recorder::echo());
    assert_eq!(
        a.net().connection(to_b).unwrap().info().direction,
        Direction::Outbound
    );
    assert_eq!(
        b.net().connection(to_a).unwrap().info().direction,
        Direction::Inbound
    );
    a.net().send(to_b, b"hello").unwrap();
    run_until([&mut a, &mut b], |[a, _]| {
        !a.handler().messages(to_b).is_empty()
    });
    a.net().close(to_b);
    assert_eq!(
        a.net().connection(to_b).unwrap().state(),
        ConnectionState::Closing
    );
    run_until([&mut a, &mut b], |[a, b]| {
        a.handler().ended(to_b).is_some() && b.handler().ended(to_a).is_some()
    });
    let hello = b"hello".to_vec();
    let expected = [
        Event::Start,
        Event::Connect(to_b),
        Event::Message(to_b, hello.clone()),
        Event::Disconnect(to_b, DisconnectReason::Local),
    ];
    assert_eq!(a.handler().events, expected);
    let expected = [
        Event::Start,
        Event::Connect(to_a),
        Event::Message(to_a, hello),
        Event::Disconnect(to_a, DisconnectReason::PeerClosed),
    ];
    assert_eq!(b.handler().events, expected);
    assert!(a.net().connection(to_b).is_none());
    assert_eq!(a.net().connection_count(), 0);
}

#[test]
fn a_refused_connect_fails_once_and_never_connects() {
    let mut a = node(Config::default(), Recorder::default());
    let (mut b, addr) = listening(Config::default(), Recorder::default());
    let listening = b.net().listeners().next().unwrap();
    b.net().close_listener(listening.id);
    let conn = a.net().connect(addr).unwrap();
    run_until([&mut a], |[a]| a.handler().events.len() == 2);
    crate::util::run_for(Duration::from_millis(50), [&mut a]);
    let refused = ConnectError::Io(ErrorKind::ConnectionRefused.into());
    assert_eq!(
        a.handler().events,
        [Event::Start, Event::ConnectFailed(conn, refused)]
    );
}

#[test]
fn on_start_is_called_once_and_before_everything_else() {
    let mut a = node(Config::default(), Recorder::default());
    let (mut b, addr) = listening(Config::default(), Recorder::default());
    a.net().set_timer(Duration::ZERO, 1);
    a.net().connect(addr).unwrap();
    run_until([&mut a, &mut b], |[a, b]| {
        a.handler().events.len() >= 3 && b.handler().events.len() >= 2
    });
    for events in [&a.handler().events, &b.handler().events] {
        assert_eq!(events[0], Event::Start);
        assert!(!events[1..].contains(&Event::Start));
    }
}

#[test]
fn two_nodes_that_connect_to_each_other_have_two_connections() {
    let (mut a, addr_of_a) = listening(Config::default(), Recorder::echo());
    let (mut b, addr_of_b) = listening(Config::default(), Recorder::default());
    let from_a = a.net().connect(addr_of_b).unwrap();
    let from_b = b.net().connect(addr_of_a).unwrap();
    run_until([&mut a, &mut b], |[a, b]| {
        a.handler().connected().len() == 2 && b.handler().connected().len() == 2
    });
    let direction = |node: &mut TestNode, conn| {
        let connection = node.net().connection(conn);
        connection.map(|connection| connection.info().direction)
    };
    for conn in b.handler().connected() {
        let expected = if conn == from_b {
            Direction::Outbound
        } else {
            Direction::Inbound
        };
        assert_eq!(direction(&mut b, conn), Some(expected));
        b.net().send(conn, conn.to_string().as_bytes()).unwrap();
    }
    run_until([&mut a, &mut b], |[_, b]| {
        b.handler()
            .count(|event| matches!(event, Event::Message(..)))
            == 2
    });
    for conn in b.handler().connected() {
        assert_eq!(b.handler().messages(conn), [conn.to_string().as_bytes()]);
    }
    // One can go without the other.
    a.net().close(from_a);
    run_until([&mut a, &mut b], |[a, _]| {
        a.handler().ended(from_a).is_some()
    });
    assert_eq!(
        (a.net().connection_count(), b.net().connection_count()),
        (1, 1)
    );
    assert_eq!(b.handler().ended(from_b), None);
}

#[test]
fn a_connection_connected_again_from_its_end_is_a_new_one() {
    let (mut b, addr) = listening(Config::default(), Recorder::default());
    let handler = Recorder::reacting(move |net, event| match event {
        Event::Disconnect(..) => {
            net.connect(addr).expect("there is room");
        }
        Event::Connect(conn) => net.send(*conn, b"here I am").expect("there is room"),
        _ => {}
    });
    let mut a = node(Config::default(), handler);
    a.net().connect(addr).unwrap();
    for round in 0..5 {
        run_until([&mut a, &mut b], |[_, b]| {
            let here = b.handler().connected().get(round).copied();
            here.is_some_and(|here| b.handler().messages(here) == [b"here I am"])
        });
        let here = b.handler().connected()[round];
        b.net().abort(here);
        run_until([&mut a, &mut b], |[a, _]| {
            a.handler().connected().len() == round + 2
        });
    }
    let ends = a.handler().events.iter().filter_map(|event| match event {
        Event::Disconnect(_, reason) => Some(*reason),
        _ => None,
    });
    assert!(ends.eq([DisconnectReason::Reset; 5]));
}

/// Sends this many messages as fast as the peer takes them, and then no more.
fn source(count: usize) -> Recorder {
    let mut sent = 0;
    Recorder::reacting(move |net, event| {
        if let Event::Connect(conn) | Event::Drain(conn) = event {
            while sent < count && net.is_writable(*conn) {
                let mut body = sent.to_be_bytes().to_vec();
                body.resize(1000, 7);
                net.send(*conn, &body).expect("it is writable");
                sent += 1;
            }
        }
    })
}

#[test]
fn two_nodes_that_only_send_do_not_wait_for_each_other() {
    let config = Config {
        sockets: SocketConfig {
            send_buffer_bytes: Some(8192),
            receive_buffer_bytes: Some(8192),
            ..Default::default()
        },
        ..Config::default()
    };
    let count = 5000;
    let (mut a, to_b, mut b, to_a) = pair(config, source(count), source(count));
    run_until([&mut a, &mut b], |[a, b]| {
        let messages = |node: &TestNode| {
            node.handler()
                .count(|event| matches!(event, Event::Message(..)))
        };
        messages(a) == count && messages(b) == count
    });
    for messages in [a.handler().messages(to_b), b.handler().messages(to_a)] {
        let numbers = messages.iter().map(|body| body[..8].to_vec());
        assert!(numbers.eq((0..count).map(|number| number.to_be_bytes().to_vec())));
    }
    assert!(a.net().metrics().drains > 1 && b.net().metrics().drains > 1);
}

#[test]
fn every_topology_gives_its_connections() {
    let cases = [
        (Topology::Line, [1, 2, 2, 2, 2, 2, 2, 2, 2, 1]),
        (Topology::Ring, [2; 10]),
        (Topology::Mesh, [9; 10]),
        (Topology::Star, [9, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        (Topology::Tree, [2, 3, 3, 3, 2, 1, 1, 1, 1, 1]),
        (
            Topology::Grid {
                width: 5,
                height: 2,
            },
            [2, 3, 3, 3, 2, 2, 3, 3, 3, 2],
        ),
    ];
    for (topology, expected) in cases {
        let mut nodes: [TestNode; 10] =
            std::array::from_fn(|_| node(Config::default(), Recorder::default()));
        let addrs = nodes
            .each_mut()
            .map(|node| node.net().listen("127.0.0.1:0").unwrap().addr);
        for (from, to) in topology.edges(nodes.len()).unwrap() {
            nodes[from].net().connect(addrs[to]).unwrap();
        }
        run_until(nodes.each_mut(), |nodes| {
            let counts = nodes.each_mut().map(|node| node.net().connection_count());
            counts == expected
        });
        crate::util::run_for(Duration::from_millis(5), nodes.each_mut());
        let counts = nodes.each_mut().map(|node| node.net().connection_count());
        assert_eq!(counts, expected, "{topology:?}");
    }
}

#[test]
fn an_abort_from_inside_on_disconnect_comes_too_late_to_reset_the_peer() {
    let handler = Recorder::reacting(|net, event| match event {
        Event::Message(conn, _) => net.send(*conn, &[7; 50_000]).expect("there is room"),
        Event::Disconnect(conn, _) => net.abort(*conn),
        _ => {}
    });
    let (mut node, conn, mut peer) = raw::wire(Config::default(), handler);
    peer.write_all(&[0, 0, 0, 1, b'?']).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        raw::until_ended(&mut node, conn),
        DisconnectReason::PeerClosed
    );
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).expect("a clean end");
    assert_eq!(answer.len(), 50_004);
}
