//! Places of handshakes and reserved slots, against attackers on real sockets. Linux has the addresses of the loopback
//! network without setting them up.
#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::util::raw::settle;
use crate::util::steps::{TwoSteps, connect_from};
use crate::util::{Event, Recorder, TestNode, node, run_until};
use peerloop::config::{Limits, ListenerLimits};
use peerloop::error::ConfigError;
use peerloop::{Config, ConnectError, ListenOptions, Listening};

/// A node that speaks two steps on its first listener, and plain TCP on the others.
fn node_with(limits: Limits) -> (TestNode, SocketAddr) {
    let config = Config {
        limits,
        ..Config::default()
    };
    let mut recorder = Recorder::echo();
    let mut first = None;
    recorder.sessions = Box::new(move |net, conn| {
        let listener = net.connection(conn).expect("it is there").info().listener;
        let is_first = *first.get_or_insert(listener) == listener;
        Ok(is_first.then(|| Box::new(TwoSteps::default()) as _))
    });
    let mut node = node(config, recorder);
    let addr = listen(&mut node, |_| {}).addr;
    (node, addr)
}

fn listen(node: &mut TestNode, change: impl FnOnce(&mut ListenOptions)) -> Listening {
    let mut options = node.listen_options();
    change(&mut options);
    let listening = node.net().listen_with("127.0.0.1:0", options);
    listening.expect("a port is free")
}

fn places(max: usize) -> Limits {
    Limits {
        max_inbound_handshakes: max,
        ..Limits::default()
    }
}

/// The errors of the connections that failed, in order.
fn failures(node: &TestNode) -> Vec<ConnectError> {
    let error = |event: &Event| match event {
        Event::ConnectFailed(_, error) => Some(*error),
        _ => None,
    };
    node.handler().events.iter().filter_map(error).collect()
}

/// A peer from this address whose handshake has begun, after it has sent these bytes.
fn begun(node: &mut TestNode, host: u8, addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut peer = connect_from([127, 0, 0, host], addr);
    let begun = node.net().metrics().accepted;
    run_until([node], |[node]| node.net().metrics().accepted > begun);
    peer.write_all(bytes).expect("it is connected");
    settle(node);
    peer
}

/// Whether a peer gets through its handshake, and has its message answered.
fn is_served(node: &mut TestNode, peer: &mut TcpStream) -> bool {
    peer.set_nonblocking(true).expect("a socket");
    let mut answered = 0;
    for (sent, expected) in [(&[1][..], 1), (&[2], 2), (b"\0\0\0\x01x", 7)] {
        if peer.write_all(sent).is_err() {
            return false;
        }
        let mut is_closed = false;
        run_until([node], |_| {
            match peer.read(&mut [0; 16]) {
                Ok(0) => is_closed = true,
                Ok(count) => answered += count,
                Err(error) => is_closed = error.kind() != ErrorKind::WouldBlock,
            }
            answered == expected || is_closed
        });
        if is_closed {
            return false;
        }
    }
    true
}

#[test]
fn a_newcomer_takes_the_place_of_an_attacker_whatever_that_one_has_sent() {
    // Nothing, one byte that is no step, a valid first step.
    for sent in [&b""[..], &[0], &[1]] {
        let (mut node, addr) = node_with(places(4));
        let mut attackers: Vec<TcpStream> =
            (0..4).map(|_| begun(&mut node, 2, addr, sent)).collect();
        for honest in 1..=3 {
            let mut newcomer = connect_from([127, 0, 0, 77], addr);
            assert!(is_served(&mut node, &mut newcomer), "{sent:?}");
            assert_eq!(node.net().metrics().handshakes_evicted, honest);
            // The attacker comes again.
            attackers.push(begun(&mut node, 2, addr, sent));
        }
        assert_eq!(failures(&node), [ConnectError::Evicted; 3]);
        assert!(failures(&node).iter().all(|error| !error.is_peers_fault()));
        assert_eq!(node.net().metrics().handshake_timeouts, 0);
    }
}

#[test]
fn an_attacker_that_holds_most_places_gets_no_more() {
    let (mut node, addr) = node_with(places(4));
    let mut honest = begun(&mut node, 77, addr, &[1]);
    let _attackers: Vec<_> = (0..3).map(|_| begun(&mut node, 2, addr, b"")).collect();
    let _again: Vec<_> = (0..20).map(|_| begun(&mut node, 2, addr, b"")).collect();
    assert_eq!(failures(&node), [ConnectError::TooManyConnecting; 20]);
    assert_eq!(node.net().metrics().refused_by_handshakes, 20);
    honest.write_all(&[2]).unwrap();
    run_until([&mut node], |[node]| node.net().connection_count() == 1);
}

#[test]
fn a_handshake_that_goes_on_is_older_than_none_that_does_not() {
    let (mut node, addr) = node_with(places(3));
    let mut first = begun(&mut node, 2, addr, b"");
    let _silent = [
        begun(&mut node, 2, addr, b""),
        begun(&mut node, 2, addr, b""),
    ];
    first.write_all(&[1]).unwrap();
    // Its step is seen before the newcomer.
    let mut answer = [0];
    first.set_nonblocking(true).unwrap();
    run_until([&mut node], |_| first.read(&mut answer).is_ok());
    let mut newcomer = connect_from([127, 0, 0, 3], addr);
    assert!(is_served(&mut node, &mut newcomer));
    first.write_all(&[2]).unwrap();
    run_until([&mut node], |[node]| node.net().connection_count() == 2);
}

#[test]
fn a_plain_listener_is_open_while_all_places_are_taken() {
    let (mut node, addr) = node_with(places(2));
    let _silent = [2, 2].map(|host| begun(&mut node, host, addr, b""));
    let plain = listen(&mut node, |_| {}).addr;
    let mut peer = connect_from([127, 0, 0, 2], plain);
    peer.write_all(b"\0\0\0\x01x").unwrap();
    run_until([&mut node], |[node]| {
        node.net().traffic().messages_sent == 1
    });
    assert_eq!(node.net().metrics().handshakes_evicted, 0);
}

#[test]
fn the_clients_of_a_listener_with_a_limit_leave_places_to_another() {
    let (mut node, addr) = node_with(places(3));
    // The first connection shows the handler which listener has sessions.
    drop(begun(&mut node, 9, addr, b""));
    run_until([&mut node], |[node]| node.net().connecting_count() == 0);
    node.handler_mut().sessions = Box::new(|_, _| Ok(Some(Box::new(TwoSteps::default()))));
    let limits = ListenerLimits {
        max_handshakes: Some(2),
        ..ListenerLimits::default()
    };
    let second = listen(&mut node, |options| options.limits = limits).addr;
    let _silent = [2, 2].map(|host| begun(&mut node, host, second, b""));
    let _other = begun(&mut node, 3, second, b"");
    assert_eq!(node.net().metrics().handshakes_evicted, 1);
    let _refused = begun(&mut node, 3, second, b"");
    assert_eq!(node.net().metrics().refused_by_handshakes, 1);
    let mut peer = connect_from([127, 0, 0, 3], addr);
    assert!(is_served(&mut node, &mut peer));
    assert_eq!(node.net().metrics().handshakes_evicted, 1);
}

mod slots {
    use super::*;

    /// A peer of a listener that speaks plain TCP.
    fn joined(node: &mut TestNode, addr: SocketAddr, host: u8) -> Option<TcpStream> {
        let mut peer = connect_from([127, 0, 0, host], addr);
        let before = node.net().traffic().messages_sent;
        let mut is_refused = false;
        peer.set_nonblocking(true).unwrap();
        let _ = peer.write_all(b"\0\0\0\x01x");
        run_until([node], |[node]| {
            is_refused = match peer.peek(&mut [0]) {
                Ok(count) => count == 0,
                Err(error) => error.kind() != ErrorKind::WouldBlock,
            };
            is_refused || node.net().traffic().messages_sent > before
        });
        (!is_refused).then_some(peer)
    }

    fn plain(limits: Limits) -> (TestNode, SocketAddr) {
        let config = Config {
            limits,
            ..Config::default()
        };
        crate::util::listening(config, Recorder::echo())
    }

    #[test]
    fn a_node_that_inbound_connections_have_filled_connects() {
        let (mut node, addr) = plain(Limits {
            max_connections: 16,
            ..Limits::default()
        });
        let (mut other, elsewhere) = crate::util::listening(Config::default(), Recorder::default());
        let inside: Vec<_> = std::iter::from_fn(|| joined(&mut node, addr, 2)).collect();
        assert_eq!(inside.len(), 14);
        let mut connect = || {
            let mut options = node.connect_options();
            options.allow_duplicate = true;
            node.net().connect_with(elsewhere, options)
        };
        let connects = [connect(), connect()].map(|conn| conn.expect("it has a slot"));
        assert_eq!(connect(), Err(ConnectError::TooManyConnections));
        run_until([&mut node, &mut other], |[node, _]| {
            let connected = node.handler().connected();
            connects.iter().all(|conn| connected.contains(conn))
        });
    }

    #[test]
    fn a_full_node_answers_on_a_listener_with_a_reservation() {
        let (mut node, addr) = plain(Limits {
            max_connections: 16,
            ..Limits::default()
        });
        let limits = ListenerLimits {
            reserved_connections: 2,
            max_connections: Some(3),
            ..ListenerLimits::default()
        };
        let metrics = listen(&mut node, |options| options.limits = limits);
        let mut inside: Vec<_> = std::iter::from_fn(|| joined(&mut node, addr, 2)).collect();
        assert_eq!(inside.len(), 12);
        let scraper = joined(&mut node, metrics.addr, 3).expect("it has a slot");
        let _second = joined(&mut node, metrics.addr, 3).expect("it has a slot");
        assert!(
            joined(&mut node, metrics.addr, 3).is_none(),
            "the node is full"
        );
        drop(scraper);
        run_until([&mut node], |[node]| node.net().connection_count() == 13);
        assert!(joined(&mut node, addr, 2).is_none(), "the slot is reserved");
        // A slot that is reserved for nobody is anybody's, up to the listener's own limit.
        inside.truncate(8);
        run_until([&mut node], |[node]| node.net().connection_count() == 9);
        let _more = [(); 2].map(|()| joined(&mut node, metrics.addr, 3).expect("a free slot"));
        assert!(joined(&mut node, metrics.addr, 3).is_none(), "it has three");
        node.net().close_listener(metrics.id);
        let more: Vec<_> = std::iter::from_fn(|| joined(&mut node, addr, 2)).collect();
        assert_eq!(more.len(), 3, "8 and 3 of the listeners, 2 for connects");
    }

    #[test]
    fn limits_of_a_listener_that_cannot_work_are_named() {
        let (mut node, _) = plain(Limits {
            max_connections: 16,
            ..Limits::default()
        });
        let mut refused = |limits: ListenerLimits| {
            let mut options = node.listen_options();
            options.limits = limits;
            let error = node.net().listen_with("127.0.0.1:0", options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let inner = error.into_inner().expect("an error of the library");
            inner.downcast::<ConfigError>().expect("its type").field
        };
        let limits = ListenerLimits::default();
        let (max_connections, max_handshakes) = (Some(0), Some(0));
        let field = refused(ListenerLimits {
            max_connections,
            ..limits
        });
        assert_eq!(field, "limits.max_connections");
        let field = refused(ListenerLimits {
            max_handshakes,
            ..limits
        });
        assert_eq!(field, "limits.max_handshakes");
        for (reserved_connections, max_connections) in [(15, None), (3, Some(2))] {
            let field = refused(ListenerLimits {
                reserved_connections,
                max_connections,
                ..limits
            });
            assert_eq!(field, "limits.reserved_connections");
        }
        assert_eq!(node.net().listeners().count(), 1);
    }
}

#[test]
fn an_exempt_network_has_no_limit_per_address() {
    let limits = Limits {
        max_connections_per_address: 1,
        exempt_networks: vec!["127.0.0.2/31".parse().unwrap()],
        ..Limits::default()
    };
    let (mut node, addr) = node_with(limits);
    let exempt: Vec<_> = (0..8)
        .map(|n| begun(&mut node, 2 + n % 2, addr, b""))
        .collect();
    let _first = begun(&mut node, 4, addr, b"");
    let _second = connect_from([127, 0, 0, 4], addr);
    run_until([&mut node], |[node]| {
        node.net().metrics().refused_by_address == 1
    });
    assert_eq!(node.net().connecting_count(), exempt.len() + 1);
}
