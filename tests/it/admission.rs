//! Admission and connects: limits, duplicates, and a node that meets itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::util::raw::{accepted, connect, join, until_ended};
use crate::util::{Event, PATIENCE, Recorder, TestNode, listening, node, pair, run_for, run_until};
use peerloop::config::{Limits, PrefixLimit, TurnBudget};
use peerloop::{Config, ConnId, ConnectError, ConnectOptions, DisconnectReason, Net};
use socket2::{Domain, Socket, Type};

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
fn connect_from(ip: [u8; 4], addr: SocketAddr) -> TcpStream {
    let socket = bound(ip);
    socket.connect(&addr.into()).expect("somebody listens");
    let peer = TcpStream::from(socket);
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

/// An address where connects get no answer, for as long as the rest is kept.
fn saturated() -> (Socket, SocketAddr, Vec<TcpStream>) {
    let listener = bound([127, 0, 0, 1]);
    listener.listen(0).unwrap();
    let addr = local_addr(&listener);
    // It takes one, or a few if they are quick.
    let connect = || TcpStream::connect_timeout(&addr, Duration::from_millis(50)).ok();
    let crowd: Vec<TcpStream> = std::iter::from_fn(connect).take(20).collect();
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
            limits: Limits {
                max_connections_per_address: 2,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::echo());
        let mut first = join(&mut node, addr).1;
        let mut second = join(&mut node, addr).1;
        let mut surplus = connect(addr);
        run_until([&mut node], |[node]| {
            node.net().metrics().refused_by_address > 0
        });
        assert!(was_turned_away(&mut surplus));
        let mut neighbour = connect_from([127, 0, 0, 2], addr);
        accepted(&mut node);
        for peer in [&mut first, &mut second, &mut neighbour] {
            assert_served(&mut node, peer);
        }
        let metrics = node.net().metrics();
        assert_eq!((metrics.accepted, metrics.refused_by_address), (3, 1));
        assert_eq!(
            (metrics.refused_by_total, metrics.refused_by_prefix),
            (0, 0)
        );
    }

    #[test]
    fn a_peer_that_ends_makes_room_for_another_from_its_address() {
        let config = Config {
            limits: Limits {
                max_connections_per_address: 1,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::echo());
        for _ in 0..5 {
            let (conn, mut peer) = join(&mut node, addr);
            assert_served(&mut node, &mut peer);
            drop(peer);
            assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
        }
        assert_eq!(node.net().metrics().refused_by_address, 0);
    }

    #[test]
    fn connections_and_connects_with_an_address_count_together() {
        let config = Config {
            limits: Limits {
                max_connections_per_address: 2,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::echo());
        let _inside = join(&mut node, addr);
        let (_listener, silent, _crowd) = saturated();
        let connected = node.net().connect(silent).unwrap();
        let other = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(
            node.net().connect(other),
            Err(ConnectError::TooManyFromAddress)
        );
        let mut surplus = connect(addr);
        run_until([&mut node], |[node]| {
            node.net().metrics().refused_by_address > 0
        });
        assert!(was_turned_away(&mut surplus));
        node.net().close(connected);
        let _inside = join(&mut node, addr);
    }

    #[test]
    fn a_network_at_its_limit_is_refused_and_the_next_one_is_not() {
        let limit = PrefixLimit {
            max: 2,
            ..PrefixLimit::default()
        };
        let config = Config {
            limits: Limits {
                max_connections_per_prefix: Some(limit),
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::echo());
        let first = connect_from([127, 0, 0, 1], addr);
        let left = accepted(&mut node);
        let _second = connect_from([127, 0, 0, 200], addr);
        accepted(&mut node);
        let mut surplus = connect_from([127, 0, 0, 3], addr);
        run_until([&mut node], |[node]| {
            node.net().metrics().refused_by_prefix > 0
        });
        assert!(was_turned_away(&mut surplus));
        assert_eq!(
            node.net().connect(SocketAddr::from(([127, 0, 0, 4], 1))),
            Err(ConnectError::TooManyFromPrefix)
        );
        let mut neighbour = connect_from([127, 0, 1, 1], addr);
        accepted(&mut node);
        assert_served(&mut node, &mut neighbour);
        drop(first);
        until_ended(&mut node, left);
        let mut successor = connect_from([127, 0, 0, 3], addr);
        accepted(&mut node);
        assert_served(&mut node, &mut successor);
        let metrics = node.net().metrics();
        assert_eq!(
            (metrics.refused_by_prefix, metrics.refused_by_address),
            (1, 0)
        );
    }

    #[test]
    fn surplus_connections_are_refused_and_those_inside_do_not_notice() {
        let config = Config {
            limits: Limits {
                max_connections: 3,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::echo());
        let mut inside: Vec<_> = (0..3).map(|_| join(&mut node, addr)).collect();
        let mut surplus: Vec<_> = (0..4).map(|_| connect(addr)).collect();
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
        assert_eq!(node.net().metrics().refused_by_address, 0);
    }

    #[test]
    fn connects_under_way_are_limited_and_hold_nobody_up_an_inbound_peer() {
        let config = Config {
            limits: Limits {
                max_outbound_connecting: 4,
                ..Default::default()
            },
            allow_duplicates: true,
            ..Config::default()
        };
        let (_listener, silent, _crowd) = saturated();
        let (mut node, addr) = listening(config, Recorder::echo());
        let connects: Vec<ConnId> = (0..4)
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
        node.net().close(connects[0]);
        node.net().connect(silent).unwrap();
        assert_eq!(
            node.net().connect(silent),
            Err(ConnectError::TooManyConnecting)
        );
        assert_eq!(node.net().metrics().connects_started, 5);
    }

    #[test]
    fn a_connect_that_connects_leaves_its_place_to_the_next() {
        let config = Config {
            limits: Limits {
                max_outbound_connecting: 1,
                ..Default::default()
            },
            allow_duplicates: true,
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
    fn fifty_connects_at_once_never_pass_the_limit() {
        let peak = Arc::new(AtomicUsize::new(0));
        let highest = Arc::clone(&peak);
        let watch = move |net: &mut Net, _: &Event| {
            let count = net.connection_count() + net.connecting_count();
            highest.fetch_max(count, Ordering::Relaxed);
        };
        let config = Config {
            limits: Limits {
                max_connections: 10,
                reserved_outbound: Some(0),
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::reacting(watch));
        let connects: Vec<_> = (0..50)
            .map(|_| thread::spawn(move || connect(addr)))
            .collect();
        run_until([&mut node], |[node]| {
            node.net().metrics().refused_by_total == 40
        });
        let _peers: Vec<_> = connects
            .into_iter()
            .map(|connect| connect.join().unwrap())
            .collect();
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
    fn an_address_that_is_being_connected_is_not_connected_again() {
        let (_listener, silent, _crowd) = saturated();
        // At every limit as well: what is there already must not be taken for a want of room.
        let config = Config {
            limits: Limits {
                max_connections: 1,
                max_connections_per_address: 1,
                max_outbound_connecting: 1,
                ..Default::default()
            },
            ..Config::default()
        };
        let mut node = node(config, Recorder::default());
        let conn = node.net().connect(silent).unwrap();
        for _ in 0..3 {
            let again = node.net().connect(silent);
            assert_eq!(again, Err(ConnectError::AlreadyConnecting));
            let _ = node.turn(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(
            node.net().connecting().map(|c| c.id()).collect::<Vec<_>>(),
            [conn]
        );
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
    fn an_address_that_is_connected_is_not_connected_again() {
        let config = Config {
            limits: Limits {
                max_connections: 1,
                max_connections_per_address: 1,
                max_outbound_connecting: 1,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut connector, conn, mut listener, here) =
            pair(config, Recorder::default(), Recorder::default());
        let addr = connector.net().connection(conn).unwrap().info().addr;
        assert_eq!(
            connector.net().connect(addr),
            Err(ConnectError::AlreadyConnected)
        );
        let other = SocketAddr::from(([127, 0, 0, 2], 1));
        assert_eq!(
            connector.net().connect(other),
            Err(ConnectError::TooManyConnections)
        );
        // The peer sees the connection as established.
        let back = listener.net().connection(here).unwrap().info().addr;
        assert_eq!(
            listener.net().connect(back),
            Err(ConnectError::AlreadyConnected)
        );
        run_for(Duration::from_millis(10), [&mut connector, &mut listener]);
        assert_eq!(
            connector.handler().events,
            [Event::Start, Event::Connect(conn)]
        );
    }

    #[test]
    fn the_configuration_or_a_connect_may_allow_them() {
        for by_config in [true, false] {
            let config = Config {
                allow_duplicates: by_config,
                ..Config::default()
            };
            let (mut listener, addr) = listening(Config::default(), Recorder::default());
            let mut node = node(config, Recorder::default());
            for _ in 0..3 {
                let mut options = node.net().connect_options();
                assert_eq!(options.allow_duplicate, by_config);
                options.allow_duplicate = true;
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
    fn a_connect_may_refuse_what_the_configuration_allows() {
        let (_listener, silent, _crowd) = saturated();
        let config = Config {
            allow_duplicates: true,
            ..Config::default()
        };
        let mut node = node(config, Recorder::default());
        node.net().connect(silent).unwrap();
        let mut options = node.net().connect_options();
        options.allow_duplicate = false;
        assert_eq!(
            node.net().connect_with(silent, options),
            Err(ConnectError::AlreadyConnecting)
        );
    }

    /// Every limit at one, so that what has ended and is still charged for stands in its own way.
    fn tight() -> Config {
        Config {
            limits: Limits {
                max_connections: 1,
                max_connections_per_address: 1,
                max_outbound_connecting: 1,
                ..Default::default()
            },
            ..Config::default()
        }
    }

    #[test]
    fn the_last_callback_of_a_connection_may_connect_again() {
        let reconnect = |net: &mut Net, event: &Event| {
            if let Event::Disconnect(conn, _) = event {
                let addr = net
                    .connection(*conn)
                    .expect("it is known to the end")
                    .info()
                    .addr;
                net.connect(addr).expect("nothing is left of it");
            }
        };
        let (mut listener, addr) = listening(Config::default(), Recorder::default());
        let mut node = node(tight(), Recorder::reacting(reconnect));
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
    fn the_last_callback_of_a_failed_connect_may_connect_again() {
        let reconnect = |net: &mut Net, event: &Event| {
            if let Event::ConnectFailed(conn, _) = event {
                let addr = net
                    .connection(*conn)
                    .expect("it is known to the end")
                    .info()
                    .addr;
                net.connect(addr).expect("nothing is left of it");
            }
        };
        let nobody = bound([127, 0, 0, 1]);
        let mut node = node(tight(), Recorder::reacting(reconnect));
        node.net().connect(local_addr(&nobody)).unwrap();
        run_until([&mut node], |[node]| {
            node.handler()
                .count(|event| matches!(event, Event::ConnectFailed(..)))
                >= 5
        });
        assert_eq!(node.net().connecting_count(), 1);
    }

    #[test]
    fn an_address_may_be_connected_again_while_the_old_connection_lingers() {
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

    /// Connects, and checks that only the refusal is reported, and that an honest peer is served throughout.
    #[track_caller]
    fn assert_refused(
        mut node: TestNode,
        honest: SocketAddr,
        to: SocketAddr,
        change: impl FnOnce(&mut ConnectOptions),
    ) {
        let (known, mut peer) = join(&mut node, honest);
        let begun = node.handler().events.len();
        let mut options = node.net().connect_options();
        change(&mut options);
        let conn = node.net().connect_with(to, options).unwrap();
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
        let port = node.net().listen("0.0.0.0:0").unwrap().addr.port();
        (node, port)
    }

    /// A listener for both families, if there is IPv6 here.
    fn dual_stack() -> Option<(TestNode, u16)> {
        let mut node = node(Config::default(), Recorder::echo());
        let port = node.net().listen("[::]:0").ok()?.addr.port();
        Some((node, port))
    }

    #[test]
    fn are_refused_on_both_ends() {
        let (node, addr) = listening(Config::default(), Recorder::echo());
        assert_refused(node, addr, addr, |_| {});
    }

    #[test]
    fn are_found_behind_a_wildcard_listener() {
        let (node, port) = wildcard();
        assert_refused(node, loopback(port), loopback(port), |_| {});
    }

    #[test]
    fn are_found_through_the_unspecified_address() {
        let (node, port) = wildcard();
        let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        assert_refused(node, loopback(port), unspecified, |_| {});
    }

    #[test]
    fn are_found_on_another_interface() {
        let (node, port) = wildcard();
        let other = SocketAddr::from(([127, 0, 0, 5], port));
        assert_refused(node, loopback(port), other, |_| {});
    }

    #[test]
    fn are_found_whatever_address_they_are_connected_from() {
        let (node, port) = wildcard();
        let source = SocketAddr::from(([127, 0, 0, 9], 0));
        assert_refused(node, loopback(port), loopback(port), |options| {
            options.source = Some(source);
        });
    }

    #[test]
    fn are_found_by_an_ipv4_connect_to_an_ipv6_listener() {
        if let Some((node, port)) = dual_stack() {
            assert_refused(node, loopback(port), loopback(port), |_| {});
        }
    }

    #[test]
    fn are_found_by_every_ipv6_connect_to_an_ipv6_listener() {
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        for ip in [Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED, mapped] {
            if let Some((node, port)) = dual_stack() {
                let to = SocketAddr::from((ip, port));
                assert_refused(node, loopback(port), to, |_| {});
            }
        }
    }

    #[test]
    fn are_found_when_a_socket_meets_itself() {
        let (node, addr) = listening(Config::default(), Recorder::echo());
        let socket = bound([127, 0, 0, 1]);
        let own = local_addr(&socket);
        assert_refused(node, addr, own, |options| {
            options.bound_socket = Some(socket.into());
        });
    }

    #[test]
    fn are_ended_when_the_connect_was_reported_before_the_other_end_came_in() {
        let config = Config {
            budget: TurnBudget {
                accepts: 1,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::echo());
        let mut ahead: Vec<TcpStream> = (0..5).map(|_| connect(addr)).collect();
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
    fn are_not_what_two_nodes_make_that_connect_to_each_other() {
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
            allow_self_connections: true,
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
        let mut options = node.net().connect_options();
        options.bound_socket = Some(socket.into());
        let conn = node.net().connect_with(own, options).unwrap();
        run_until([&mut node], |[node]| node.handler().connected() == [conn]);
        node.net().send(conn, b"to myself").unwrap();
        run_until([&mut node], |[node]| {
            node.handler().messages(conn) == [b"to myself"]
        });
    }
}
