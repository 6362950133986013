//! The callbacks of connections, from connect to disconnect, on both sides.

use std::time::Duration;

use peerloop::{Config, ConnectionState, Direction, DisconnectReason};

use crate::util::streams::messages;
use crate::util::{Event, Recorder, TestNode, listening, node, pair, run_until};

#[test]
fn callbacks_come_in_order_on_both_sides() {
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
fn on_start_is_called_first_and_once() {
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
fn nodes_that_connect_to_each_other_have_two() {
    let (mut a, addr_of_a) = listening(Config::default(), Recorder::echo());
    let (mut b, addr_of_b) = listening(Config::default(), Recorder::default());
    let from_a = a.net().connect(addr_of_b).unwrap();
    let from_b = b.net().connect(addr_of_a).unwrap();
    run_until([&mut a, &mut b], |[a, b]| {
        a.handler().connected().len() == 2 && b.handler().connected().len() == 2
    });
    for node in [&mut a, &mut b] {
        assert_eq!(node.net().metrics().self_connections, 0);
    }
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
    run_until([&mut a, &mut b], |[_, b]| messages(b) == 2);
    for conn in b.handler().connected() {
        assert_eq!(b.handler().messages(conn), [conn.to_string().as_bytes()]);
    }
    // Each ends without the other.
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
fn connect_in_on_disconnect_has_a_new_id() {
    let (mut b, addr) = listening(Config::default(), Recorder::default());
    let handler = Recorder::reacting(move |net, event| match event {
        Event::Disconnect(..) => {
            net.connect(addr).expect("there is room");
        }
        Event::Connect(conn) => net.send(*conn, b"hello").expect("there is room"),
        _ => {}
    });
    let mut a = node(Config::default(), handler);
    a.net().connect(addr).unwrap();
    for round in 0..5 {
        run_until([&mut a, &mut b], |[_, b]| {
            let here = b.handler().connected().get(round).copied();
            here.is_some_and(|here| b.handler().messages(here) == [b"hello"])
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
