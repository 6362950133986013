//! Who may come in and who may be dialled: limits, duplicates, and a node that meets itself.

mod util;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use peerloop::{
    Config, ConnId, ConnectError, ConnectOptions, DisconnectReason, ListenOptions, Net, Permission,
    PrefixLimit,
};
use socket2::{Domain, Socket, Type};
use util::raw::{accepted, dial, join, until_ended};
use util::{Event, PATIENCE, Recorder, TestNode, listening, node, pair, run_for, run_until};

/// A socket with an address of its own.
fn bound(ip: [u8; 4]) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
    socket
}

fn local_addr(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

/// A raw peer with this address.
fn dial_from(ip: [u8; 4], addr: SocketAddr) -> TcpStream {
    let socket = bound(ip);
    socket.connect(&addr.into()).expect("somebody listens");
    let peer = TcpStream::from(socket);
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

/// An address where dials get no answer, for as long as the rest is kept.
fn saturated() -> (Socket, SocketAddr, Vec<TcpStream>) {
    let listener = bound([127, 0, 0, 1]);
    listener.listen(0).unwrap();
    let addr = local_addr(&listener);
    // It takes one, or a few if they are quick.
    let dial = || TcpStream::connect_timeout(&addr, Duration::from_millis(50)).ok();
    let crowd: Vec<TcpStream> = std::iter::from_fn(dial).take(20).collect();
    assert!(crowd.len() < 20, "the queue has a limit");
    (listener, addr, crowd)
}

/// Whether the other end closed the connection without a word.
fn was_turned_away(peer: &mut TcpStream) -> bool {
    match peer.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Has an echoing node answer this peer.
#[track_caller]
fn assert_served(node: &mut TestNode, peer: &mut TcpStream) {
    let message = b"\0\0\0\x05hello";
    let messages = |event: &Event| matches!(event, Event::Message(..));
    let before = node.handler().count(messages);
    peer.write_all(message).unwrap();
    run_until([node], |[node]| node.handler().count(messages) > before);
    let mut answer = [0; 9];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, message);
}

mod limits {
    use super::*;

    #[test]
    fn an_address_at_its_limit_is_refused_and_another_one_is_not() {
        let config = Config {
            max_connections_per_ip: 2,
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::echo());
        let mut first = join(&mut node, addr).1;
        let mut second = join(&mut node, addr).1;
        let mut surplus = dial(addr);
        run_until([&mut node], |[node]| node.net().metrics().refused_by_ip > 0);
        assert!(was_turned_away(&mut surplus));
        let mut neighbour = dial_from([127, 0, 0, 2], addr);
        accepted(&mut node);
        for peer in [&mut first, &mut second, &mut neighbour] {
            assert_served(&mut node, peer);
        }
        let metrics = node.net().metrics();
        assert_eq!((metrics.accepted, metrics.refused_by_ip), (3, 1));
        assert_eq!(
            (metrics.refused_by_total, metrics.refused_by_prefix),
            (0, 0)
        );
    }

    #[test]
    fn a_peer_that_ends_makes_room_for_another_from_its_address() {
        let config = Config {
            max_connections_per_ip: 1,
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::echo());
        for _ in 0..5 {
            let (conn, mut peer) = join(&mut node, addr);
            assert_served(&mut node, &mut peer);
            drop(peer);
            assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
        }
        assert_eq!(node.net().metrics().refused_by_ip, 0);
    }

    #[test]
    fn connections_and_dials_with_an_address_count_together() {
        let config = Config {
            max_connections_per_ip: 2,
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::echo());
        let _inside = join(&mut node, addr);
        let (_listener, silent, _crowd) = saturated();
        let dialled = node.net().connect(silent).unwrap();
        let other = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(
            node.net().connect(other),
            Err(ConnectError::TooManyFromAddress)
        );
        let mut surplus = dial(addr);
        run_until([&mut node], |[node]| node.net().metrics().refused_by_ip > 0);
        assert!(was_turned_away(&mut surplus));
        node.net().close(dialled);
        let _inside = join(&mut node, addr);
    }

    #[test]
    fn a_network_at_its_limit_is_refused_and_the_next_one_is_not() {
        let limit = PrefixLimit {
            max: 2,
            ..PrefixLimit::default()
        };
        let config = Config {
            max_connections_per_prefix: Some(limit),
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::echo());
        let first = dial_from([127, 0, 0, 1], addr);
        let left = accepted(&mut node);
        let _second = dial_from([127, 0, 0, 200], addr);
        accepted(&mut node);
        let mut surplus = dial_from([127, 0, 0, 3], addr);
        run_until([&mut node], |[node]| {
            node.net().metrics().refused_by_prefix > 0
        });
        assert!(was_turned_away(&mut surplus));
        assert_eq!(
            node.net().connect(SocketAddr::from(([127, 0, 0, 4], 1))),
            Err(ConnectError::TooManyFromPrefix)
        );
        let mut neighbour = dial_from([127, 0, 1, 1], addr);
        accepted(&mut node);
        assert_served(&mut node, &mut neighbour);
        drop(first);
        until_ended(&mut node, left);
        let mut successor = dial_from([127, 0, 0, 3], addr);
        accepted(&mut node);
        assert_served(&mut node, &mut successor);
        let metrics = node.net().metrics();
        assert_eq!((metrics.refused_by_prefix, metrics.refused_by_ip), (1, 0));
    }

    #[test]
    fn surplus_connections_are_refused_and_those_inside_do_not_notice() {
        let config = Config {
            max_connections: 3,
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::echo());
        let mut inside: Vec<_> = (0..3).map(|_| join(&mut node, addr)).collect();
        let mut surplus: Vec<_> = (0..4).map(|_| dial(addr)).collect();
        run_until([&mut node], |[node]| {
            node.net().metrics().refused_by_total == 4
        });
        assert!(surplus.iter_mut().all(was_turned_away));
        assert_eq!(
            node.net().connect(addr),
            Err(ConnectError::TooManyConnections)
        );
        for (_, peer) in &mut inside {
            assert_served(&mut node, peer);
        }
        let (conn, peer) = inside.remove(1);
        drop(peer);
        until_ended(&mut node, conn);
        let (_, mut successor) = join(&mut node, addr);
        assert_served(&mut node, &mut successor);
        assert_eq!(node.net().connection_count(), 3);
        assert_eq!(node.net().metrics().refused_by_ip, 0);
    }

    #[test]
    fn dials_under_way_are_limited_and_hold_nobody_up_who_dials_in() {
        let config = Config {
            max_connecting_outbound: 4,
            duplicates: Permission::Allowed,
            ..Config::default()
        };
        let (_listener, silent, _crowd) = saturated();
        let (mut node, addr) = listening(config, Recorder::echo());
        let dials: Vec<ConnId> = (0..4)
            .map(|_| node.net().connect(silent).unwrap())
            .collect();
        for begun in [false, true] {
            assert_eq!(
                node.net().connect(silent),
                Err(ConnectError::TooManyConnecting),
                "begun: {begun}"
            );
            let _ = node.turn(Some(Duration::ZERO)).unwrap();
        }
        let mut inside: Vec<_> = (0..8).map(|_| join(&mut node, addr)).collect();
        for (_, peer) in &mut inside {
            assert_served(&mut node, peer);
        }
        assert_eq!(node.net().connecting_count(), 4);
        node.net().close(dials[0]);
        node.net().connect(silent).unwrap();
        assert_eq!(
            node.net().connect(silent),
            Err(ConnectError::TooManyConnecting)
        );
        assert_eq!(node.net().metrics().connects_started, 5);
    }

    #[test]
    fn a_dial_that_connects_leaves_its_place_to_the_next() {
        let config = Config {
            max_connecting_outbound: 1,
            duplicates: Permission::Allowed,
            ..Config::default()
        };
        let (mut listener, addr) = listening(Config::default(), Recorder::default());
        let mut node = node(config, Recorder::default());
        for count in 1..=5 {
            node.net().connect(addr).unwrap();
            run_until([&mut node, &mut listener], |[node, _]| {
                node.handler().connected().len() == count
            });
        }
    }

    #[test]
    fn fifty_dials_at_once_never_pass_the_limit() {
        let peak = Arc::new(AtomicUsize::new(0));
        let highest = Arc::clone(&peak);
        let watch = move |net: &mut Net, _: &Event| {
            let count = net.connection_count() + net.connecting_count();
            highest.fetch_max(count, Ordering::Relaxed);
        };
        let config = Config {
            max_connections: 10,
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::reacting(watch));
        let dials: Vec<_> = (0..50).map(|_| thread::spawn(move || dial(addr))).collect();
        run_until([&mut node], |[node]| {
            node.net().metrics().refused_by_total == 40
        });
        let _peers: Vec<_> = dials.into_iter().map(|dial| dial.join().unwrap()).collect();
        assert_eq!(peak.load(Ordering::Relaxed), 10);
        let ended = |event: &Event| matches!(event, Event::Disconnect(..));
        assert_eq!(node.handler().count(ended), 0);
        assert_eq!(node.net().metrics().accepted, 10);
        assert_eq!(node.net().connection_count(), 10);
    }
}

mod duplicates {
    use super::*;

    #[test]
    fn an_address_that_is_being_dialled_is_not_dialled_again() {
        let (_listener, silent, _crowd) = saturated();
        // At every limit as well: what is there already must not be taken for a want of room.
        let config = Config {
            max_connections: 1,
            max_connections_per_ip: 1,
            max_connecting_outbound: 1,
            ..Config::default()
        };
        let mut node = node(config, Recorder::default());
        let conn = node.net().connect(silent).unwrap();
        for _ in 0..3 {
            let again = node.net().connect(silent);
            assert_eq!(again, Err(ConnectError::AlreadyConnecting));
            let _ = node.turn(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(node.net().connecting().collect::<Vec<_>>(), [conn]);
        assert_eq!(node.net().metrics().connects_started, 1);
    }

    #[test]
    fn an_address_in_its_other_form_is_the_same_one() {
        let (_listener, silent, _crowd) = saturated();
        let mut node = node(Config::default(), Recorder::default());
        node.net().connect(silent).unwrap();
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        let forms = [
            SocketAddr::from((mapped, silent.port())),
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, silent.port())),
        ];
        for form in forms {
            let again = node.net().connect(form);
            assert_eq!(again, Err(ConnectError::AlreadyConnecting), "{form}");
        }
    }

    #[test]
    fn an_address_that_is_connected_is_not_dialled_again() {
        let config = Config {
            max_connections: 1,
            max_connections_per_ip: 1,
            max_connecting_outbound: 1,
            ..Config::default()
        };
        let (mut dialler, conn, mut listener, here) =
            pair(config, Recorder::default(), Recorder::default());
        let addr = dialler.net().connection(conn).unwrap().addr();
        assert_eq!(
            dialler.net().connect(addr),
            Err(ConnectError::AlreadyConnected)
        );
        let other = SocketAddr::from(([127, 0, 0, 2], 1));
        assert_eq!(
            dialler.net().connect(other),
            Err(ConnectError::TooManyConnections)
        );
        // Who dialled in is connected too.
        let back = listener.net().connection(here).unwrap().addr();
        assert_eq!(
            listener.net().connect(back),
            Err(ConnectError::AlreadyConnected)
        );
        run_for(Duration::from_millis(10), [&mut dialler, &mut listener]);
        assert_eq!(
            dialler.handler().events,
            [Event::Start, Event::Connect(conn)]
        );
    }

    #[test]
    fn the_configuration_or_a_dial_may_allow_them() {
        for by_config in [true, false] {
            let (duplicates, override_) = match by_config {
                true => (Permission::Allowed, None),
                false => (Permission::Refused, Some(Permission::Allowed)),
            };
            let config = Config {
                duplicates,
                ..Config::default()
            };
            let (mut listener, addr) = listening(Config::default(), Recorder::default());
            let mut node = node(config, Recorder::default());
            for _ in 0..3 {
                let options = ConnectOptions {
                    duplicates: override_,
                    ..ConnectOptions::default()
                };
                node.net().connect_with(addr, options).unwrap();
            }
            run_until([&mut node, &mut listener], |[node, listener]| {
                node.handler().connected().len() == 3 && listener.handler().connected().len() == 3
            });
            let refusal = node.net().connect(addr).err();
            let refused = (!by_config).then_some(ConnectError::AlreadyConnected);
            assert_eq!(refusal, refused);
        }
    }

    #[test]
    fn a_dial_may_refuse_what_the_configuration_allows() {
        let (_listener, silent, _crowd) = saturated();
        let config = Config {
            duplicates: Permission::Allowed,
            ..Config::default()
        };
        let mut node = node(config, Recorder::default());
        node.net().connect(silent).unwrap();
        let options = ConnectOptions {
            duplicates: Some(Permission::Refused),
            ..ConnectOptions::default()
        };
        assert_eq!(
            node.net().connect_with(silent, options),
            Err(ConnectError::AlreadyConnecting)
        );
    }

    /// Every limit at one, so that what has ended and is still charged for stands in its own way.
    fn tight() -> Config {
        Config {
            max_connections: 1,
            max_connections_per_ip: 1,
            max_connecting_outbound: 1,
            ..Config::default()
        }
    }

    #[test]
    fn the_last_callback_of_a_connection_may_dial_again() {
        let redial = |net: &mut Net, event: &Event| {
            if let Event::Disconnect(conn, _) = event {
                let addr = net
                    .connection(*conn)
                    .expect("it is known to the end")
                    .addr();
                net.connect(addr).expect("nothing is left of it");
            }
        };
        let (mut listener, addr) = listening(Config::default(), Recorder::default());
        let mut node = node(tight(), Recorder::reacting(redial));
        node.net().connect(addr).unwrap();
        for count in 1..=5 {
            run_until([&mut node, &mut listener], |[node, listener]| {
                node.handler().connected().len() == count
                    && listener.handler().connected().len() == count
            });
            let (here, there) = (
                node.handler().connected()[count - 1],
                listener.handler().connected()[count - 1],
            );
            match count % 2 {
                0 => node.net().abort(here),
                _ => listener.net().close(there),
            }
        }
    }

    #[test]
    fn the_last_callback_of_a_failed_dial_may_dial_again() {
        let redial = |net: &mut Net, event: &Event| {
            if let Event::ConnectFailed(conn, _) = event {
                let addr = net
                    .connection(*conn)
                    .expect("it is known to the end")
                    .addr();
                net.connect(addr).expect("nothing is left of it");
            }
        };
        let nobody = bound([127, 0, 0, 1]);
        let mut node = node(tight(), Recorder::reacting(redial));
        node.net().connect(local_addr(&nobody)).unwrap();
        run_until([&mut node], |[node]| {
            node.handler()
                .count(|event| matches!(event, Event::ConnectFailed(..)))
                >= 5
        });
        assert_eq!(node.net().connecting_count(), 1);
    }

    #[test]
    fn an_address_may_be_dialled_again_while_the_old_connection_lingers() {
        let (mut node, addr) = listening(Config::default(), Recorder::default());
        let other = Socket::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let there = local_addr(&other);
        let old = node.net().connect(there).unwrap();
        run_until([&mut node], |[node]| node.handler().connected() == [old]);
        // Nobody answers the end: it lingers.
        node.net().close(old);
        let new = node.net().connect(there).unwrap();
        run_until([&mut node], |[node]| {
            node.handler().connected() == [old, new]
        });
        assert_eq!(node.handler().ended(old), None);
        assert_eq!(
            node.net().connect(there),
            Err(ConnectError::AlreadyConnected)
        );
        node.net().abort(old);
        until_ended(&mut node, old);
        assert_eq!(
            node.net().connect(there),
            Err(ConnectError::AlreadyConnected)
        );
        let _ = join(&mut node, addr);
    }
}

mod self_connections {
    use super::*;

    /// Dials, and checks that nothing but the refusal is heard of it, and that an honest peer is served throughout.
    #[track_caller]
    fn assert_refused(mut node: TestNode, honest: SocketAddr, to: SocketAddr, how: ConnectOptions) {
        let (known, mut peer) = join(&mut node, honest);
        let begun = node.handler().events.len();
        let conn = node.net().connect_with(to, how).unwrap();
        run_until([&mut node], |[node]| {
            node.net().metrics().self_connections > 0 && node.net().connecting_count() == 0
        });
        run_for(Duration::from_millis(20), [&mut node]);
        let heard = &node.handler().events[begun..];
        let failed = [Event::ConnectFailed(conn, ConnectError::SelfConnection)];
        let ended = [
            Event::Connect(conn),
            Event::Disconnect(conn, DisconnectReason::SelfConnection),
        ];
        assert!(heard == failed || heard == ended, "{heard:?}");
        assert_served(&mut node, &mut peer);
        let (_, mut newcomer) = join(&mut node, honest);
        assert_served(&mut node, &mut newcomer);
        assert_eq!(node.handler().ended(known), None);
        assert_eq!(node.net().metrics().self_connections, 1);
        assert_eq!(node.net().connection_count(), 2);
    }

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    fn wildcard() -> (TestNode, u16) {
        let mut node = node(Config::default(), Recorder::echo());
        let port = node.net().listen("0.0.0.0:0").unwrap().port();
        (node, port)
    }

    /// A listener for both families, if there is IPv6 here.
    fn dual_stack() -> Option<(TestNode, u16)> {
        let mut node = node(Config::default(), Recorder::echo());
        let options = ListenOptions {
            v6_only: Some(false),
            ..ListenOptions::default()
        };
        let addr = node.net().listen_with("[::]:0", options).ok()?;
        Some((node, addr.port()))
    }

    #[test]
    fn are_refused_on_both_ends() {
        let (node, addr) = listening(Config::default(), Recorder::echo());
        assert_refused(node, addr, addr, ConnectOptions::default());
    }

    #[test]
    fn are_found_behind_a_wildcard_listener() {
        let (node, port) = wildcard();
        assert_refused(
            node,
            loopback(port),
            loopback(port),
            ConnectOptions::default(),
        );
    }

    #[test]
    fn are_found_through_the_unspecified_address() {
        let (node, port) = wildcard();
        let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        assert_refused(node, loopback(port), unspecified, ConnectOptions::default());
    }

    #[test]
    fn are_found_on_another_interface() {
        let (node, port) = wildcard();
        let other = SocketAddr::from(([127, 0, 0, 5], port));
        assert_refused(node, loopback(port), other, ConnectOptions::default());
    }

    #[test]
    fn are_found_whatever_address_they_are_dialled_from() {
        let (node, port) = wildcard();
        let options = ConnectOptions {
            source: Some(SocketAddr::from(([127, 0, 0, 9], 0))),
            ..ConnectOptions::default()
        };
        assert_refused(node, loopback(port), loopback(port), options);
    }

    #[test]
    fn are_found_by_an_ipv4_dial_to_an_ipv6_listener() {
        if let Some((node, port)) = dual_stack() {
            assert_refused(
                node,
                loopback(port),
                loopback(port),
                ConnectOptions::default(),
            );
        }
    }

    #[test]
    fn are_found_by_every_ipv6_dial_to_an_ipv6_listener() {
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        for ip in [Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED, mapped] {
            if let Some((node, port)) = dual_stack() {
                let to = SocketAddr::from((ip, port));
                assert_refused(node, loopback(port), to, ConnectOptions::default());
            }
        }
    }

    #[test]
    fn are_found_when_a_socket_meets_itself() {
        let (node, addr) = listening(Config::default(), Recorder::echo());
        let socket = bound([127, 0, 0, 1]);
        let own = local_addr(&socket);
        let options = ConnectOptions {
            socket: Some(socket),
            ..ConnectOptions::default()
        };
        assert_refused(node, addr, own, options);
    }

    #[test]
    fn are_ended_when_the_dial_was_reported_before_the_other_end_came_in() {
        let config = Config {
            accept_budget: 1,
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::echo());
        let mut ahead: Vec<TcpStream> = (0..5).map(|_| dial(addr)).collect();
        let conn = node.net().connect(addr).unwrap();
        run_until([&mut node], |[node]| {
            node.handler().ended(conn).is_some() && node.handler().connected().len() == 6
        });
        let reason = node.handler().ended(conn);
        assert_eq!(reason, Some(DisconnectReason::SelfConnection));
        assert_eq!(node.net().metrics().self_connections, 1);
        for peer in &mut ahead {
            assert_served(&mut node, peer);
        }
        assert_eq!(node.net().connection_count(), 5);
    }

    #[test]
    fn are_not_what_two_nodes_make_that_dial_each_other() {
        let (mut a, a_addr) = listening(Config::default(), Recorder::default());
        let (mut b, b_addr) = listening(Config::default(), Recorder::default());
        a.net().connect(b_addr).unwrap();
        b.net().connect(a_addr).unwrap();
        run_until([&mut a, &mut b], |[a, b]| {
            a.handler().connected().len() == 2 && b.handler().connected().len() == 2
        });
        for node in [&mut a, &mut b] {
            assert_eq!(node.net().metrics().self_connections, 0);
            assert_eq!(node.net().connection_count(), 2);
        }
    }

    fn allowing() -> Config {
        Config {
            self_connections: Permission::Allowed,
            ..Config::default()
        }
    }

    #[test]
    fn work_when_they_are_allowed() {
        let (mut node, addr) = listening(allowing(), Recorder::default());
        let conn = node.net().connect(addr).unwrap();
        run_until([&mut node], |[node]| node.handler().connected().len() == 2);
        let connected = node.handler().connected();
        let other = *connected.iter().find(|other| **other != conn).unwrap();
        node.net().send(conn, b"to myself").unwrap();
        run_until([&mut node], |[node]| {
            node.handler().messages(other) == [b"to myself"]
        });
        assert_eq!(node.net().metrics().self_connections, 0);
    }

    #[test]
    fn of_one_socket_with_itself_work_when_they_are_allowed() {
        let mut node = node(allowing(), Recorder::default());
        let socket = bound([127, 0, 0, 1]);
        let own = local_addr(&socket);
        let options = ConnectOptions {
            socket: Some(socket),
            ..ConnectOptions::default()
        };
        let conn = node.net().connect_with(own, options).unwrap();
        run_until([&mut node], |[node]| node.handler().connected() == [conn]);
        node.net().send(conn, b"to myself").unwrap();
        run_until([&mut node], |[node]| {
            node.handler().messages(conn) == [b"to myself"]
        });
    }
}
