//! What a program sees of a node: every call and option of its face, on real sockets.

use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::util::{
    Event, Recorder, TestNode, listening, node, pair, raw, run_for, run_until, unlimited_time,
};
use peerloop::config::{ConnectionConfig, Limits, SendQueueConfig, SocketConfig, Timeouts};
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node, Turn,
};
use socket2::{Domain, Socket, Type};

/// One frame of the default framing.
fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

/// What a reaction has seen, for the test to look at afterwards.
fn notebook<T: Default>() -> (Arc<Mutex<T>>, Arc<Mutex<T>>) {
    let notes = Arc::new(Mutex::new(T::default()));
    (Arc::clone(&notes), notes)
}

/// A TCP socket bound to a port of the system's choice on this IPv4 address.
fn bound(ip: [u8; 4]) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
    socket
}

fn local_addr(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

/// A listener whose queue is full, so that a connect to it is never answered; and what fills it.
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

/// Runs a node with any handler until that says that something has happened.
fn run_until_seen<H: Handler>(node: &mut Node<H>, seen: impl Fn(&H) -> bool) {
    let end = Instant::now() + crate::util::PATIENCE;
    while !seen(node.handler()) {
        let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
        assert!(Instant::now() < end, "it did not come about");
    }
}

mod timers {
    use super::*;

    /// The keys in the order in which they fired.
    fn fired(node: &TestNode) -> Vec<u64> {
        let key = |event: &Event| match event {
            Event::Timer(_, key) => Some(*key),
            _ => None,
        };
        node.handler().events.iter().filter_map(key).collect()
    }

    #[test]
    fn they_fire_in_the_order_of_their_time_and_then_of_their_setting() {
        let mut node = node(Config::default(), Recorder::default());
        let net = node.net();
        let mut expected = Vec::new();
        for round in 0..10 {
            for milliseconds in [5, 1, 9, 1, 5] {
                let key = expected.len() as u64;
                net.set_timer(Duration::from_millis(milliseconds), key);
                expected.push((milliseconds, round, key));
            }
        }
        run_until([&mut node], |[node]| fired(node).len() == expected.len());
        expected.sort_by_key(|(milliseconds, _, key)| (*milliseconds, *key));
        let expected: Vec<u64> = expected.into_iter().map(|(.., key)| key).collect();
        assert_eq!(fired(&node), expected);
    }

    #[test]
    fn one_that_is_due_can_still_be_cancelled_by_another() {
        let (notes, answers) = notebook::<Vec<_>>();
        let mut timers = Vec::new();
        let handler = Recorder::reacting(move |net, event| match event {
            Event::Start => timers.extend((0..4).map(|key| net.set_timer(Duration::ZERO, key))),
            Event::Timer(_, 1) => {
                let mut notes = notes.lock().unwrap();
                notes.extend([0, 1, 2, 2].map(|which| net.cancel_timer(timers[which])));
            }
            _ => {}
        });
        let mut node = node(Config::default(), handler);
        run_until([&mut node], |[node]| fired(node).len() == 3);
        run_for(Duration::from_millis(5), [&mut node]);
        assert_eq!(fired(&node), [0, 1, 3]);
        // Of those that have fired, of the one that fires, of one to come, and of the same again.
        assert_eq!(*answers.lock().unwrap(), [None, None, Some(2), None]);
    }

    #[test]
    fn to_cancel_one_that_has_fired_leaves_its_successor_alone() {
        let mut node = node(Config::default(), Recorder::default());
        let old = node.net().set_timer(Duration::ZERO, 1);
        run_until([&mut node], |[node]| fired(node) == [1]);
        let new = node.net().set_timer(Duration::ZERO, 2);
        assert_ne!(old, new);
        assert_eq!(node.net().cancel_timer(old), None);
        run_until([&mut node], |[node]| fired(node) == [1, 2]);
    }

    #[test]
    fn one_that_fires_is_named_as_it_was_when_it_was_set() {
        let mut node = node(Config::default(), Recorder::default());
        let first = node.net().set_timer(Duration::ZERO, 5);
        let second = node.net().set_timer(Duration::ZERO, 5);
        run_until([&mut node], |[node]| fired(node).len() == 2);
        let expected = [
            Event::Start,
            Event::Timer(first, 5),
            Event::Timer(second, 5),
        ];
        assert_eq!(node.handler().events, expected);
    }

    #[test]
    fn one_that_sets_itself_again_for_now_does_not_keep_the_turn_from_ending() {
        let handler = Recorder::reacting(|net, event| {
            if let Event::Start | Event::Timer(..) = event {
                net.set_timer(Duration::ZERO, 0);
            }
        });
        let mut node = node(Config::default(), handler);
        for fired_so_far in 0..20 {
            // It waits for nothing, since the timer is due. A timer does not fire in the turn that set it.
            let _ = node.turn(None).unwrap();
            assert_eq!(fired(&node).len(), fired_so_far);
            assert_eq!(node.timeout(), Some(Duration::ZERO));
        }
    }

    #[test]
    fn none_fires_too_early() {
        let (notes, early) = notebook::<Vec<_>>();
        let mut due = Vec::new();
        let handler = Recorder::reacting(move |net, event| match event {
            Event::Start => {
                for key in 0..60 {
                    let after = Duration::from_micros(333 * key);
                    due.push(Instant::now() + after);
                    net.set_timer(Instant::now() - net.now() + after, key);
                }
            }
            Event::Timer(_, key) if Instant::now() < due[*key as usize] => {
                notes.lock().unwrap().push(*key);
            }
            _ => {}
        });
        let mut node = node(Config::default(), handler);
        run_until([&mut node], |[node]| fired(node).len() == 60);
        assert_eq!(*early.lock().unwrap(), [0; 0]);
    }

    #[test]
    fn one_in_a_very_long_time_neither_fires_nor_overflows() {
        let mut node = node(Config::default(), Recorder::default());
        let timer = node.net().set_timer(Duration::MAX, 1);
        run_for(Duration::from_millis(5), [&mut node]);
        assert_eq!(fired(&node).len(), 0);
        assert_eq!(node.net().cancel_timer(timer), Some(1));
        assert_eq!(node.timeout(), None);
    }
}

mod listening_for_peers {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpListener;

    use peerloop::framing::{Framing, LengthPrefix};
    use peerloop::{Admission, Listening};

    use super::*;

    #[test]
    fn each_listener_has_a_framing_of_its_own() {
        let mut node = node(Config::default(), Recorder::default());
        type Case = (Framing, &'static [u8], &'static [&'static [u8]]);
        let cases: [Case; 4] = [
            (Framing::default(), b"\0\0\0\x02ab\0\0\0\0", &[b"ab", b""]),
            (Framing::Delimited(b'\n'), b"one\ntwo\n", &[b"one", b"two"]),
            (Framing::Fixed(3), b"abcdef", &[b"abc", b"def"]),
            (
                Framing::LengthDelimited(LengthPrefix::One),
                b"\x01a\x02bc",
                &[b"a", b"bc"],
            ),
        ];
        let mut peers = Vec::new();
        for (framing, wire, _) in &cases {
            let mut options = node.net().listen_options();
            options.connection_mut().framing = framing.clone();
            let addr = node.net().listen_with("127.0.0.1:0", options).unwrap().addr;
            let (conn, mut peer) = raw::join(&mut node, addr);
            peer.write_all(wire).unwrap();
            peers.push((conn, peer));
        }
        for ((framing, wire, messages), (conn, mut peer)) in cases.iter().zip(peers) {
            run_until([&mut node], |[node]| {
                node.handler().messages(conn).len() == messages.len()
            });
            assert_eq!(node.handler().messages(conn), *messages, "{framing:?}");
            for message in *messages {
                node.net().send(conn, message).unwrap();
            }
            let _ = node.turn(Some(Duration::ZERO)).unwrap();
            let mut answer = vec![0; wire.len()];
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(answer, *wire, "{framing:?}");
        }
    }

    #[test]
    fn close_listener_frees_the_port_at_once_and_touches_no_connection() {
        let mut node = node(Config::default(), Recorder::echo());
        let listening = node.net().listen("127.0.0.1:0").unwrap();
        let addr = listening.addr;
        let (_, mut peer) = raw::join(&mut node, addr);
        assert_eq!(node.net().listeners().collect::<Vec<_>>(), [listening]);
        let mut waiting = raw::connect(addr);
        node.net().close_listener(listening.id);
        let reset = waiting.read(&mut [0]).unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        assert_eq!(node.net().listeners().count(), 0);
        let other = TcpListener::bind(addr).expect("the port is free");
        // The id is stale now.
        node.net().close_listener(listening.id);
        peer.write_all(&frame(b"still there?")).unwrap();
        let mut answer = [0; 16];
        run_until([&mut node], |[node]| {
            node.net().traffic().messages_sent == 1 && node.net().metrics().queued_bytes == 0
        });
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..], frame(b"still there?"));
        // What comes in now is the other's.
        let _theirs = raw::connect(addr);
        other.accept().unwrap();
        run_for(Duration::from_millis(5), [&mut node]);
        assert_eq!(node.handler().connected().len(), 1);
    }

    #[test]
    fn one_of_several_listeners_can_go() {
        let mut node = node(Config::default(), Recorder::default());
        let mut listen = || node.net().listen("127.0.0.1:0").unwrap();
        let (first, second) = (listen(), listen());
        node.net().close_listener(first.id);
        let third = node.net().listen("127.0.0.1:0").unwrap();
        // The id of a closed listener is not given out again.
        node.net().close_listener(first.id);
        let mut listeners: Vec<Listening> = node.net().listeners().collect();
        listeners.sort_by_key(|listening| listening.addr);
        let mut expected = [second, third];
        expected.sort_by_key(|listening| listening.addr);
        assert_eq!(listeners, expected);
        for listening in [second, third] {
            let (conn, _peer) = raw::join(&mut node, listening.addr);
            let conn = node.net().connection(conn).unwrap();
            assert_eq!(conn.listener(), Some(listening.id));
        }
        TcpStream::connect(first.addr).unwrap_err();
    }

    #[test]
    fn an_address_in_use_is_an_error_and_the_next_one_is_taken() {
        let mut node = node(Config::default(), Recorder::default());
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken.local_addr().map(|addr| (taken, addr)).unwrap();
        let error = node.net().listen(taken.1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listening = node.net().listen(&[taken.1, any][..]).unwrap();
        assert_ne!(listening.addr, taken.1);
        let error = node.net().listen(&[][..] as &[SocketAddr]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(node.net().listeners().collect::<Vec<_>>(), [listening]);
    }

    #[test]
    fn an_option_that_cannot_work_is_named() {
        let mut node = node(Config::default(), Recorder::default());
        type Change = fn(&mut ConnectionConfig);
        let cases: [(&str, Change); 2] = [
            ("max_message_len", |connection| {
                connection.max_message_len = 0
            }),
            ("framing", |connection| {
                connection.framing = Framing::Fixed(0)
            }),
        ];
        for (field, change) in cases {
            let mut options = node.net().listen_options();
            change(options.connection_mut());
            let error = node.net().listen_with("127.0.0.1:0", options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(field), "{error}");
        }
        assert_eq!(node.net().listeners().count(), 0);
    }

    #[test]
    fn nodes_share_a_port_when_they_say_so() {
        let mut first = node(Config::default(), Recorder::default());
        let mut second = node(Config::default(), Recorder::default());
        let mut sharing = first.net().listen_options();
        sharing.reuse_port = true;
        let listening = first.net().listen_with("127.0.0.1:0", sharing.clone());
        let addr = listening.unwrap().addr;
        second.net().listen(addr).unwrap_err();
        let listening = second.net().listen_with(addr, sharing).unwrap();
        assert_eq!(listening.addr, addr);
        let peers: Vec<TcpStream> = (0..8).map(|_| raw::connect(addr)).collect();
        run_until([&mut first, &mut second], |[first, second]| {
            let (first, second) = (first.handler().connected(), second.handler().connected());
            first.len() + second.len() == peers.len()
        });
    }

    #[test]
    fn a_listener_has_limits_of_its_own() {
        let mut node = node(Config::default(), Recorder::default());
        let mut options = node.net().listen_options();
        options.connection_mut().max_message_len = 4;
        let addr = node.net().listen_with("127.0.0.1:0", options).unwrap().addr;
        let (conn, mut peer) = raw::join(&mut node, addr);
        let error = node.net().send(conn, b"hello").unwrap_err();
        assert_eq!(error, peerloop::SendError::TooLarge);
        node.net().send(conn, b"four").unwrap();
        peer.write_all(&frame(b"four")).unwrap();
        peer.write_all(&frame(b"hello")).unwrap();
        let reason = raw::until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::MessageTooLarge { len: 5, max: 4 });
        assert_eq!(node.handler().messages(conn), [b"four"]);
    }

    /// Lets in whom it does not know by address.
    #[derive(Default)]
    struct Doorman {
        banned: Vec<std::net::IpAddr>,
        turned_away: usize,
        others: usize,
    }

    impl Handler for Doorman {
        fn on_accept(&mut self, net: &mut Net, info: &ConnInfo) -> Admission {
            self.others += usize::from(net.find(info.addr).is_some());
            if self.banned.contains(&info.addr.ip()) {
                self.turned_away += 1;
                return Admission::Refuse;
            }
            Admission::Admit
        }

        fn on_connect(&mut self, _: &mut Net, _: ConnId) {
            self.others += 1;
        }

        fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {
            self.others += 1;
        }

        fn on_disconnect(&mut self, _: &mut Net, _: ConnId, _: DisconnectReason) {
            self.others += 1;
        }
    }

    #[test]
    fn on_accept_turns_away_before_anything_else_happens() {
        let doorman = Doorman {
            banned: vec![[127, 0, 0, 66].into()],
            ..Doorman::default()
        };
        let mut node = Node::new(Config::default(), doorman).unwrap();
        let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
        let banned = bound([127, 0, 0, 66]);
        banned.connect(&addr.into()).unwrap();
        let mut banned = TcpStream::from(banned);
        run_until_seen(&mut node, |doorman| doorman.turned_away == 1);
        assert_eq!(banned.read(&mut [0]).unwrap(), 0, "closed");
        assert_eq!(node.handler().others, 0);
        assert_eq!(node.net().metrics().refused_by_handler, 1);
        assert_eq!(node.net().connection_count(), 0);
        let _welcome = raw::connect(addr);
        run_until_seen(&mut node, |doorman| doorman.others == 1);
        assert_eq!(node.net().connection_count(), 1);
    }

    /// Puts another listener in the place of the one that has just accepted.
    struct Replacer {
        lines: bool,
        messages: Vec<Vec<u8>>,
    }

    impl Handler for Replacer {
        fn on_accept(&mut self, net: &mut Net, _: &ConnInfo) -> Admission {
            if !std::mem::replace(&mut self.lines, true) {
                let listening = net.listeners().next().expect("it has accepted");
                net.close_listener(listening.id);
                let mut options = net.listen_options();
                options.connection_mut().framing = Framing::Delimited(b'\n');
                net.listen_with("127.0.0.1:0", options).expect("a port");
            }
            Admission::Admit
        }

        fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
            self.messages.push(message.to_vec());
        }
    }

    #[test]
    fn a_connection_never_gets_the_options_of_another_listener() {
        let handler = Replacer {
            lines: false,
            messages: Vec::new(),
        };
        let mut node = Node::new(Config::default(), handler).unwrap();
        let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
        let mut peer = raw::connect(addr);
        peer.write_all(b"\0\0\0\x04two\n").unwrap();
        // It is admitted on its own terms, or not at all.
        let end = Instant::now() + crate::util::PATIENCE;
        let mut idle_turns = 0;
        while node.handler().messages.is_empty() && idle_turns < 50 {
            let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
            idle_turns += usize::from(node.handler().lines);
            assert!(Instant::now() < end);
        }
        let messages = &node.handler().messages;
        assert!(
            messages.is_empty() || *messages == [b"two\n"],
            "{messages:?}"
        );
    }

    #[test]
    fn what_is_accepted_is_counted() {
        let (mut node, addr) = listening(Config::default(), Recorder::default());
        let peers = [(); 3].map(|()| raw::join(&mut node, addr));
        assert_eq!(node.net().metrics().accepted, peers.len() as u64);
    }
}

mod connecting {
    use std::io::ErrorKind;

    use peerloop::config::Timeouts;
    use peerloop::framing::Framing;
    use peerloop::{ConnectOptions, ConnectionState, Direction};

    use super::*;

    fn outcome(node: &TestNode, conn: ConnId) -> Option<ConnectError> {
        node.handler().events.iter().find_map(|event| match event {
            Event::ConnectFailed(which, error) if *which == conn => Some(*error),
            _ => None,
        })
    }

    fn until_failed(node: &mut TestNode, conn: ConnId) -> ConnectError {
        run_until([node], |[node]| outcome(node, conn).is_some());
        outcome(node, conn).expect("it has failed")
    }

    #[test]
    fn with_a_socket_bound_by_the_caller() {
        let (mut listener, addr) = listening(Config::default(), Recorder::default());
        let mut connector = node(Config::default(), Recorder::default());
        let socket = bound([127, 0, 0, 77]);
        let source = local_addr(&socket);
        let mut options = connector.net().connect_options();
        options.bound_socket = Some(socket.into());
        let conn = connector.net().connect_with(addr, options).unwrap();
        run_until([&mut connector, &mut listener], |[connector, listener]| {
            connector.handler().connected() == [conn] && !listener.handler().connected().is_empty()
        });
        let here = listener.handler().connected()[0];
        assert_eq!(listener.net().connection(here).unwrap().info().addr, source);
        let info = connector.net().connection(conn).unwrap().info();
        assert_eq!(info.local_addr, Some(source));
        assert_eq!((info.addr, info.direction), (addr, Direction::Outbound));
        assert_eq!(info.listener, None);
    }

    #[test]
    fn from_a_source_address() {
        let (mut listener, addr) = listening(Config::default(), Recorder::default());
        let mut connector = node(Config::default(), Recorder::default());
        let mut options = connector.net().connect_options();
        options.source = Some(SocketAddr::from(([127, 0, 0, 77], 0)));
        let conn = connector.net().connect_with(addr, options).unwrap();
        let info = connector.net().connection(conn).unwrap().info();
        assert_eq!(info.local_addr, None);
        run_until([&mut connector, &mut listener], |[connector, listener]| {
            connector.handler().connected() == [conn] && !listener.handler().connected().is_empty()
        });
        let here = listener.handler().connected()[0];
        let seen = listener.net().connection(here).unwrap().info().addr;
        assert_eq!(seen.ip().to_string(), "127.0.0.77");
        let info = connector.net().connection(conn).unwrap().info();
        assert_eq!(info.local_addr, Some(seen));
    }

    #[test]
    fn from_an_address_that_is_not_ours_fails_later() {
        let mut node = node(Config::default(), Recorder::default());
        let mut options = node.net().connect_options();
        options.source = Some(SocketAddr::from(([192, 0, 2, 1], 0)));
        let addr = SocketAddr::from(([127, 0, 0, 1], 9));
        let conn = node.net().connect_with(addr, options).unwrap();
        let error = until_failed(&mut node, conn);
        assert_eq!(error, ConnectError::Io(ErrorKind::AddrNotAvailable.into()));
    }

    #[test]
    fn what_cannot_be_connected_is_refused_at_once_and_nothing_follows() {
        let config = Config {
            limits: Limits {
                max_connections: 1,
                ..Default::default()
            },
            ..Config::default()
        };
        let mut node = node(config, Recorder::default());
        let addr = SocketAddr::from(([127, 0, 0, 1], 9));
        type Change = fn(&mut ConnectOptions);
        let cases: [(&str, Change); 5] = [
            ("source", |options| {
                options.bound_socket = Some(bound([127, 0, 0, 1]).into());
                options.source = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
            }),
            ("source", |options| {
                options.source = Some(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)));
            }),
            ("max_message_len", |options| {
                options.connection_mut().max_message_len = 0;
            }),
            ("framing", |options| {
                options.connection_mut().framing = Framing::Fixed(0);
            }),
            ("timeouts.connect", |options| {
                options.connection_mut().timeouts.connect = Some(Duration::ZERO);
            }),
        ];
        for (field, change) in cases {
            let mut options = node.net().connect_options();
            change(&mut options);
            let error = node.net().connect_with(addr, options).unwrap_err();
            assert_eq!(error, ConnectError::InvalidOption(field));
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let error = node.net().connect(nowhere).unwrap_err();
        assert_eq!(error, ConnectError::InvalidAddress);
        for text in ["localhost:9", "127.0.0.1", "127.0.0.1:0"] {
            let error = node.net().connect(text).unwrap_err();
            assert_eq!(error, ConnectError::InvalidAddress, "{text}");
        }
        assert_eq!(node.net().metrics().connects_started, 0);
        assert_eq!(node.net().connecting_count(), 0);
        node.net().connect(addr).expect("the only one");
        let error = node.net().connect(addr).unwrap_err();
        assert_eq!(error, ConnectError::AlreadyConnecting);
        let another = SocketAddr::from(([127, 0, 0, 2], addr.port()));
        let error = node.net().connect(another).unwrap_err();
        assert_eq!(error, ConnectError::TooManyConnections);
        node.net().shutdown(Duration::ZERO);
        let error = node.net().connect(addr).unwrap_err();
        assert_eq!(error, ConnectError::ShuttingDown);
    }

    #[test]
    fn what_is_never_answered_times_out_and_not_too_early() {
        let (_listener, addr, _crowd) = saturated();
        let timeouts = Timeouts {
            connect: Some(Duration::from_millis(200)),
            ..Timeouts::default()
        };
        let config = Config {
            connection: ConnectionConfig {
                timeouts,
                ..Default::default()
            },
            ..Config::default()
        };
        let mut node = node(config, Recorder::default());
        let begun = Instant::now();
        let conn = node.net().connect(addr).unwrap();
        assert_eq!(
            node.net().connecting().map(|c| c.id()).collect::<Vec<_>>(),
            [conn]
        );
        assert_eq!(
            node.net().connection(conn).unwrap().state(),
            ConnectionState::Connecting
        );
        let error = until_failed(&mut node, conn);
        assert_eq!(error, ConnectError::TimedOut);
        assert!(begun.elapsed() >= Duration::from_millis(200));
        let metrics = node.net().metrics();
        assert_eq!((metrics.connect_timeouts, metrics.connects_failed), (1, 1));
        assert_eq!((node.net().connecting_count(), node.timeout()), (0, None));
    }

    #[test]
    fn a_connect_has_a_timeout_of_its_own() {
        let (_listener, addr, _crowd) = saturated();
        let mut node = node(Config::default(), Recorder::default());
        let mut options = node.net().connect_options();
        options.connection_mut().timeouts.connect = Some(Duration::from_millis(20));
        options.allow_duplicate = true;
        let patient = node.net().connect(addr).unwrap();
        assert_eq!(
            node.net().connect(addr),
            Err(ConnectError::AlreadyConnecting)
        );
        let hasty = node.net().connect_with(addr, options).unwrap();
        assert_eq!(until_failed(&mut node, hasty), ConnectError::TimedOut);
        assert_eq!(outcome(&node, patient), None);
    }

    #[test]
    fn one_that_is_given_up_fails_once_and_never_connects() {
        let endings: [fn(&mut Net, ConnId); 2] = [Net::close, Net::abort];
        for end in endings {
            for begun in [false, true] {
                let (_listener, addr, _crowd) = saturated();
                let mut node = node(Config::default(), Recorder::default());
                let conn = node.net().connect(addr).unwrap();
                if begun {
                    raw::settle(&mut node);
                }
                end(node.net(), conn);
                assert_eq!(node.net().connecting_count(), 0);
                run_for(Duration::from_millis(5), [&mut node]);
                let expected = [
                    Event::Start,
                    Event::ConnectFailed(conn, ConnectError::Cancelled),
                ];
                assert_eq!(node.handler().events, expected);
                assert!(node.net().connection(conn).is_none());
                assert_eq!(node.timeout(), None);
            }
        }
    }

    #[test]
    fn a_connect_has_a_framing_and_a_limit_of_its_own() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut node = node(Config::default(), Recorder::default());
        let mut options = node.net().connect_options();
        options.connection_mut().framing = Framing::Delimited(b'\n');
        options.connection_mut().max_message_len = 8;
        let conn = node.net().connect_with(addr, options).unwrap();
        run_until([&mut node], |[node]| node.handler().connected() == [conn]);
        let (mut peer, _) = listener.accept().unwrap();
        node.net().send(conn, b"a line").unwrap();
        node.net().send(conn, b"too long a line").unwrap_err();
        node.net().send(conn, b"two\n").unwrap_err();
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
        let mut received = [0; 7];
        std::io::Read::read_exact(&mut peer, &mut received).unwrap();
        assert_eq!(received, *b"a line\n");
        std::io::Write::write_all(&mut peer, b"answer\n123456789").unwrap();
        let reason = raw::until_ended(&mut node, conn);
        assert_eq!(node.handler().messages(conn), [b"answer"]);
        assert_eq!(reason, DisconnectReason::MessageTooLarge { len: 9, max: 8 });
    }

    #[test]
    fn one_that_is_paused_while_it_connects_gets_its_messages_after_the_pause() {
        for begun in [false, true] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let mut node = node(Config::default(), Recorder::default());
            let conn = node.net().connect(listener.local_addr().unwrap()).unwrap();
            if begun {
                let _ = node.turn(Some(Duration::ZERO)).unwrap();
                assert_eq!(node.net().connecting_count(), 1);
            }
            node.net().pause(conn);
            run_until([&mut node], |[node]| node.handler().connected() == [conn]);
            let (mut peer, _) = listener.accept().unwrap();
            std::io::Write::write_all(&mut peer, &frame(b"early")).unwrap();
            run_for(Duration::from_millis(5), [&mut node]);
            assert!(node.handler().messages(conn).is_empty());
            node.net().resume(conn);
            run_until([&mut node], |[node]| {
                node.handler().messages(conn) == [b"early"]
            });
        }
    }

    #[test]
    fn sends_to_a_connect_under_way_are_refused() {
        let (_listener, addr, _crowd) = saturated();
        let mut node = node(Config::default(), Recorder::default());
        let conn = node.net().connect(addr).unwrap();
        raw::settle(&mut node);
        assert_eq!(
            node.net().send(conn, b"early"),
            Err(peerloop::SendError::Closed)
        );
        assert!(!node.net().is_writable(conn));
    }
}

mod sending {
    use std::io::{IoSlice, Read, Write};
    use std::thread::{JoinHandle, spawn};

    use peerloop::framing::{Framing, LengthPrefix};
    use peerloop::{Body, BroadcastOutcome, Bytes, SendError, SendOutcome, Traffic};

    use super::*;

    /// A peer that does not read, and a small buffer on both sides: what does not fit stays in the queue.
    fn narrow(config: Config, handler: Recorder) -> (TestNode, ConnId, TcpStream) {
        let config = Config {
            sockets: SocketConfig {
                send_buffer_bytes: Some(4096),
                ..config.sockets
            },
            ..config
        };
        let (mut node, addr) = listening(config, handler);
        let peer = raw::connect_narrow(addr);
        let conn = raw::accepted(&mut node);
        (node, conn, peer)
    }

    /// Sends until the call says that it is enough, and lets the socket take what it can; what was sent.
    fn fill(node: &mut TestNode, conn: ConnId, enough: fn(&mut Net, ConnId) -> bool) -> usize {
        let mut sent = 0;
        loop {
            while !enough(node.net(), conn) && node.net().send(conn, &[9; 1000]).is_ok() {
                sent += 1004;
            }
            let before = queued_bytes(node.net(), conn);
            raw::settle(node);
            if queued_bytes(node.net(), conn) == before {
                return sent;
            }
        }
    }

    fn queued_bytes(net: &Net, conn: ConnId) -> usize {
        net.connection(conn).map_or(0, |conn| conn.queued_bytes())
    }

    fn above_the_mark(net: &mut Net, conn: ConnId) -> bool {
        !net.is_writable(conn)
    }

    fn never(_: &mut Net, _: ConnId) -> bool {
        false
    }

    fn read_away(mut peer: TcpStream, count: usize) -> JoinHandle<TcpStream> {
        spawn(move || {
            let mut rest = vec![0; count];
            peer.read_exact(&mut rest).expect("so much was sent");
            peer
        })
    }

    fn drains(node: &TestNode) -> usize {
        node.handler()
            .count(|event| matches!(event, Event::Drain(_)))
    }

    fn config() -> Config {
        Config {
            connection: ConnectionConfig {
                send_queue: SendQueueConfig {
                    high_bytes: 64 * 1024,
                    low_bytes: 16 * 1024,
                    max_bytes: 128 * 1024,
                    ..Default::default()
                },
                ..Default::default()
            },
            limits: Limits {
                loop_send_bytes: 1024 * 1024,
                ..Default::default()
            },
            ..Config::default()
        }
    }

    #[test]
    fn a_drain_comes_once_each_time_the_high_mark_was_passed() {
        let (notes, queued_at_drain) = notebook::<Vec<_>>();
        let handler = Recorder::reacting(move |net, event| {
            if let Event::Drain(conn) = event {
                notes.lock().unwrap().push(queued_bytes(net, *conn));
            }
        });
        let (mut node, conn, mut peer) = narrow(config(), handler);
        let cases = [
            (above_the_mark as fn(&mut Net, ConnId) -> bool, 1),
            (never, 2),
            (above_the_mark, 3),
        ];
        for (enough, expected) in cases {
            let sent = fill(&mut node, conn, enough);
            assert!(!node.net().is_writable(conn));
            run_for(Duration::from_millis(5), [&mut node]);
            assert_eq!(drains(&node), expected - 1, "nothing has left yet");
            let reader = read_away(peer, sent);
            run_until([&mut node], |[node]| queued_bytes(node.net(), conn) == 0);
            peer = reader.join().unwrap();
            assert_eq!(drains(&node), expected);
            assert!(node.net().is_writable(conn));
        }
        assert!(
            queued_at_drain
                .lock()
                .unwrap()
                .iter()
                .all(|len| *len <= 16 * 1024)
        );
        assert_eq!(node.net().metrics().drains, 3);
    }

    #[test]
    fn without_a_crossing_there_is_no_drain() {
        let (mut node, conn, peer) = narrow(config(), Recorder::default());
        for _ in 0..20 {
            node.net().send(conn, &[9; 1000]).unwrap();
        }
        let reader = read_away(peer, 20 * 1004);
        run_until([&mut node], |[node]| queued_bytes(node.net(), conn) == 0);
        reader.join().unwrap();
        assert_eq!(drains(&node), 0);
    }

    #[test]
    fn all_queues_together_have_a_cap_and_those_refused_hear_when_there_is_room() {
        let mut config = config();
        config.limits.loop_send_bytes = 150 * 1024;
        config.sockets.send_buffer_bytes = Some(4096);
        let (mut node, addr) = listening(config, Recorder::default());
        let peers = [(); 3].map(|()| {
            let peer = raw::connect_narrow(addr);
            (raw::accepted(&mut node), peer)
        });
        let [
            (first, first_peer),
            (second, _second_peer),
            (third, _third_peer),
        ] = peers;
        let sent = fill(&mut node, first, never);
        fill(&mut node, second, never);
        assert!(node.net().metrics().queued_bytes <= 150 * 1024);
        // Its own queue is empty, and still there is no room. `is_writable` looks at that queue only.
        assert_eq!(queued_bytes(node.net(), third), 0);
        let body = [9; 50 * 1024];
        assert_eq!(node.net().send(third, &body), Err(SendError::Full));
        assert!(node.net().is_writable(third));
        assert!(
            node.net().send(third, &body[..2000]).is_ok(),
            "there is room for less"
        );
        raw::settle(&mut node);
        let is_told = |node: &TestNode| node.handler().events.contains(&Event::Drain(third));
        assert!(!is_told(&node));
        let reader = read_away(first_peer, sent);
        run_until([&mut node], |[node]| is_told(node));
        node.net().send(third, &body).unwrap();
        run_until([&mut node], |[node]| queued_bytes(node.net(), first) == 0);
        reader.join().unwrap();
    }

    /// Fills the loop's queue for one peer, and then ends that one, at the end of a chain of connections each of which
    /// is ended by the end of the one before it.
    fn ends_in_a_chain(length: usize) {
        let mut config = config();
        config.connection.send_queue.max_bytes = 128 * 1024;
        config.limits.loop_send_bytes = 128 * 1024;
        let (chain, filled) = notebook::<Vec<ConnId>>();
        let handler = Recorder::reacting(move |net, event| {
            if let Event::Disconnect(..) = event {
                if let Some(next) = filled.lock().unwrap().pop() {
                    net.abort(next);
                }
            }
        });
        let (mut node, full, _full_peer) = narrow(config, handler);
        let addr = node.net().listeners().next().unwrap().addr;
        let (other, _other_peer) = raw::join(&mut node, addr);
        let links: Vec<(ConnId, TcpStream)> =
            (1..length).map(|_| raw::join(&mut node, addr)).collect();
        fill(&mut node, full, never);
        let body = [9; 80 * 1024];
        assert_eq!(node.net().send(other, &body), Err(SendError::Full));
        let mut ids = vec![full];
        ids.extend(links.iter().map(|(conn, _)| *conn));
        let first = ids.pop().expect("at least the full one");
        *chain.lock().unwrap() = ids;
        node.net().abort(first);
        // Until the node says that it waits for events.
        raw::settle(&mut node);
        assert_eq!(node.net().metrics().queued_bytes, 0);
        let announced = node.handler().events.contains(&Event::Drain(other));
        assert!(announced, "after a chain of {length}");
    }

    #[test]
    fn room_that_an_end_makes_is_announced_without_another_event() {
        (1..8).for_each(ends_in_a_chain);
    }

    #[test]
    fn a_body_in_any_form_and_of_any_length_arrives_as_one_message() {
        let config = Config {
            connection: ConnectionConfig {
                send_queue: SendQueueConfig {
                    max_bytes: 64 << 20,
                    ..Default::default()
                },
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut a, to_b, mut b, to_a) = pair(config, Recorder::default(), Recorder::default());
        let mut expected = Vec::new();
        for length in [0, 1, 255, 16 * 1024 - 1, 16 * 1024, 70_000, 8 << 20] {
            let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let (head, rest) = body.split_at(length / 3);
            let parts = [IoSlice::new(head), IoSlice::new(b""), IoSlice::new(rest)];
            let forms: [Body<'_>; 3] = [
                body.as_slice().into(),
                Bytes::from(body.clone()).into(),
                Body::parts(&parts),
            ];
            let net = a.net();
            net.send(to_b, &body).unwrap();
            net.send(to_b, Bytes::from(body.clone())).unwrap();
            net.send(to_b, Body::parts(&parts)).unwrap();
            for (token, form) in forms.into_iter().enumerate() {
                net.send_tracked(to_b, form, token as u64).unwrap();
            }
            assert_eq!(net.broadcast([to_b], body.as_slice()).queued, 1);
            expected.extend(std::iter::repeat_n(body, 7));
            run_until([&mut a, &mut b], |[_, b]| {
                b.handler().messages(to_a).len() == expected.len()
            });
        }
        assert!(b.handler().messages(to_a).iter().eq(expected.iter()));
        let answers: Vec<(u64, SendOutcome)> = a
            .handler()
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Sent(_, token, outcome) => Some((*token, *outcome)),
                _ => None,
            })
            .collect();
        let one_round = [0, 1, 2].map(|token| (token, SendOutcome::HandedOver));
        assert_eq!(answers, one_round.repeat(7));
        let mut too_long = vec![0; (8 << 20) + 1];
        assert_eq!(a.net().send(to_b, &too_long), Err(SendError::TooLarge));
        too_long.pop();
        a.net().send(to_b, &too_long).unwrap();
    }

    #[test]
    fn flush_writes_as_soon_as_the_callback_returns() {
        let (notes, queued) = notebook::<Vec<_>>();
        let handler = Recorder::reacting(move |net, event| {
            if let Event::Message(conn, message) = event {
                let other = net.connections().find(|other| other.id() != *conn);
                let other = other.expect("there are two");
                notes.lock().unwrap().push(other.queued_bytes());
                let other = other.id();
                net.send(other, b"x").expect("there is room");
                if message == b"at once" {
                    net.flush(other);
                }
            }
        });
        let config = Config {
            budget: unlimited_time(),
            ..Config::default()
        };
        let (mut node, _, mut from) = raw::wire(config, handler);
        let addr = node.net().listeners().next().unwrap().addr;
        let (_, _to) = raw::join(&mut node, addr);
        let messages: [&[u8]; 4] = [b"at once", b"at once", b"later", b"later"];
        // All four are delivered from one read, in one turn.
        from.write_all(&messages.map(frame).concat()).unwrap();
        run_until([&mut node], |_| queued.lock().unwrap().len() == 4);
        assert_eq!(*queued.lock().unwrap(), [0, 0, 0, 5]);
    }

    #[test]
    fn a_broadcast_counts_what_became_of_it_and_speaks_everybodys_framing() {
        let mut config = config();
        config.sockets.send_buffer_bytes = Some(4096);
        let (mut node, plain) = listening(config, Recorder::default());
        let mut with = |framing| {
            let mut options = node.net().listen_options();
            options.connection_mut().framing = framing;
            let listening = node.net().listen_with("127.0.0.1:0", options);
            listening.unwrap().addr
        };
        let lines = with(Framing::Delimited(b'\n'));
        let fives = with(Framing::Fixed(5));
        let short = with(Framing::LengthDelimited(LengthPrefix::One));
        let mut peers: Vec<(ConnId, TcpStream)> = [plain, plain, lines, fives, short, plain]
            .map(|addr| raw::join(&mut node, addr))
            .into();
        let full_peer = raw::connect_narrow(plain);
        let full = raw::accepted(&mut node);
        fill(&mut node, full, never);
        while node.net().send(full, b"").is_ok() {}
        let (gone, gone_peer) = raw::join(&mut node, plain);
        drop(gone_peer);
        raw::until_ended(&mut node, gone);
        let mut everybody: Vec<ConnId> = peers.iter().map(|(conn, _)| *conn).collect();
        everybody.insert(1, gone);
        everybody.insert(3, full);
        // Queued, full, closed, unsendable.
        let counts = |outcome: BroadcastOutcome| {
            let BroadcastOutcome { queued, full, .. } = outcome;
            [queued, full, outcome.closed, outcome.unsendable]
        };
        let hello = node.net().broadcast(everybody.clone(), b"hello");
        assert_eq!(counts(hello), [6, 1, 1, 0]);
        // Neither a line nor five bytes; then longer than one byte can say as well.
        let odd = node.net().broadcast(everybody.clone(), b"li\nnes");
        assert_eq!(counts(odd), [4, 1, 1, 2]);
        let long = node.net().broadcast(everybody, vec![b'x'; 20_000]);
        assert_eq!(counts(long), [4, 1, 1, 2]);
        let plainly = [frame(b"hello"), frame(b"li\nnes"), frame(&[b'x'; 20_000])].concat();
        let in_lines = [b"hello\n".as_slice(), &[b'x'; 20_000], b"\n"].concat();
        let expected: [&[u8]; 6] = [
            &plainly,
            &plainly,
            &in_lines,
            b"hello",
            b"\x05hello\x06li\nnes",
            &plainly,
        ];
        for (conn, _) in &peers {
            node.net().close_write(*conn);
        }
        let readers: Vec<_> = peers
            .drain(..)
            .map(|(_, mut peer)| {
                spawn(move || {
                    let mut received = Vec::new();
                    peer.read_to_end(&mut received).expect("an end");
                    received
                })
            })
            .collect();
        run_until([&mut node], |_| readers.iter().all(JoinHandle::is_finished));
        for (reader, expected) in readers.into_iter().zip(expected) {
            assert!(reader.join().unwrap() == expected);
        }
        drop(full_peer);
    }

    #[test]
    fn a_broadcast_to_all_reaches_all_but_one_and_none_that_is_closing() {
        let (mut node, addr) = listening(Config::default(), Recorder::default());
        let peers = [(); 4].map(|()| raw::join(&mut node, addr));
        let (except, closing) = (peers[1].0, peers[2].0);
        node.net().close(closing);
        assert_eq!(node.net().broadcast_all(b"one", Some(except)).queued, 2);
        assert_eq!(node.net().broadcast_all(b"two", None).queued, 3);
        node.net().shutdown(Duration::from_secs(3600));
        raw::settle(&mut node);
        let both = [frame(b"one"), frame(b"two")].concat();
        let expected = [both.clone(), frame(b"two"), Vec::new(), both];
        for ((_, mut peer), expected) in peers.into_iter().zip(expected) {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).expect("an end");
            assert_eq!(received, expected);
        }
    }

    #[test]
    fn counters_agree_on_both_ends_and_the_nodes_survive_the_connections() {
        let mut a = node(Config::default(), Recorder::default());
        let (mut b, addr) = listening(Config::default(), Recorder::default());
        let mut total = Traffic::default();
        let mut lengths = (1..=4096).cycle().step_by(997);
        for messages in [2, 17, 64] {
            let to_b = a.net().connect(addr).unwrap();
            let rounds = b.handler().connected().len();
            run_until([&mut a, &mut b], |[a, b]| {
                a.handler().connected().contains(&to_b) && b.handler().connected().len() > rounds
            });
            let to_a = b.handler().connected()[rounds];
            let mut expected = Traffic::default();
            for length in lengths.by_ref().take(messages) {
                let body = vec![1; length];
                a.net().send(to_b, &body).unwrap();
                expected.messages_sent += 1;
                expected.bytes_sent += 4 + length as u64;
            }
            expected.messages_received = 1;
            expected.bytes_received = 4 + 3;
            b.net().send(to_a, b"one").unwrap();
            let mut mirrored = Traffic::default();
            mirrored.messages_sent = expected.messages_received;
            mirrored.bytes_sent = expected.bytes_received;
            mirrored.messages_received = expected.messages_sent;
            mirrored.bytes_received = expected.bytes_sent;
            run_until([&mut a, &mut b], |[a, b]| {
                a.handler().messages(to_b).len() == 1
                    && b.handler().messages(to_a).len() == messages
            });
            assert_eq!(a.net().connection(to_b).unwrap().traffic(), expected);
            assert_eq!(b.net().connection(to_a).unwrap().traffic(), mirrored);
            a.net().close(to_b);
            run_until([&mut a, &mut b], |[a, b]| {
                a.handler().ended(to_b).is_some() && b.handler().ended(to_a).is_some()
            });
            total += expected;
            assert_eq!(a.net().traffic(), total);
        }
        assert_eq!(b.net().traffic().bytes_received, total.bytes_sent);
        assert_eq!(b.net().traffic().messages_received, 2 + 17 + 64);
    }

    #[test]
    fn what_is_lost_with_a_connection_is_counted() {
        let (mut node, conn, _peer) = narrow(config(), Recorder::default());
        fill(&mut node, conn, never);
        let queued = queued_bytes(node.net(), conn);
        assert!(queued > 100_000);
        node.net().abort(conn);
        raw::settle(&mut node);
        let metrics = node.net().metrics();
        assert_eq!(
            (metrics.bytes_lost, metrics.queued_bytes),
            (queued as u64, 0)
        );
        assert!(metrics.max_queued_bytes >= queued && metrics.sends_refused > 0);
    }
}

mod transports {
    use std::io::Read;

    use peerloop::error::TransportError;

    use super::*;

    /// A raw peer and a connection to a raw listener, for a node whose `transport` gives neither what it needs.
    fn assert_fails_closed(mut node: TestNode, expected: TransportError) {
        let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut inbound = raw::connect(addr);
        let outbound = node.net().connect(other.local_addr().unwrap()).unwrap();
        run_until([&mut node], |[node]| node.handler().events.len() == 3);
        let (mut accepted, _) = other.accept().unwrap();
        run_for(Duration::from_millis(5), [&mut node]);
        let error = ConnectError::Transport(expected);
        let failed = |event: &Event| match event {
            Event::ConnectFailed(conn, which) if *which == error => Some(*conn),
            _ => None,
        };
        let failed: Vec<ConnId> = node.handler().events[1..]
            .iter()
            .filter_map(failed)
            .collect();
        assert_eq!(failed.len(), 2, "{:?}", node.handler().events);
        assert!(failed[0] != failed[1] && failed.contains(&outbound));
        for peer in [&mut inbound, &mut accepted] {
            let mut received = Vec::new();
            let _ = peer.read_to_end(&mut received);
            assert_eq!(received, b"", "no plaintext");
        }
        assert_eq!(node.net().connection_count(), 0);
        assert_eq!(node.net().connecting_count(), 0);
    }

    #[test]
    fn plain_ones_are_refused_where_a_session_is_required() {
        let config = Config {
            connection: ConnectionConfig {
                require_session: true,
                ..Default::default()
            },
            ..Config::default()
        };
        let node = node(config, Recorder::default());
        assert_fails_closed(node, TransportError::SessionRequired);
    }

    #[test]
    fn those_that_the_handler_could_not_make_end_the_connection() {
        let handler = Recorder {
            sessions: Box::new(|_, _| Err(std::io::Error::other("no key"))),
            ..Recorder::default()
        };
        let node = node(Config::default(), handler);
        assert_fails_closed(node, TransportError::Handler);
    }
}

mod looking_around {
    use peerloop::{ConnMap, ConnectionState, Direction};

    use super::*;

    /// Everything the node says about its connections fits together, and with what the peers say.
    fn assert_consistent(node: &mut TestNode, peers: &[(ConnId, TcpStream)]) {
        let net = node.net();
        assert_eq!(net.connection_count(), peers.len());
        let mut listed: Vec<ConnId> = net.connections().map(|c| c.id()).collect();
        listed.sort();
        let mut expected: Vec<ConnId> = peers.iter().map(|(conn, _)| *conn).collect();
        expected.sort();
        assert_eq!(listed, expected);
        for (conn, theirs) in peers {
            let peer = net.connection(*conn).expect("it is one of them");
            let (addr, local_addr) = (theirs.local_addr().unwrap(), theirs.peer_addr().unwrap());
            let info = peer.info();
            assert_eq!((info.addr, info.local_addr), (addr, Some(local_addr)));
            assert_eq!((peer.id(), info.direction), (*conn, Direction::Inbound));
            assert_eq!(
                (peer.state(), peer.queued_bytes()),
                (ConnectionState::Connected, 0)
            );
            assert!(peer.since() <= net.now());
            assert_eq!(net.find(addr), Some(*conn));
        }
    }

    #[test]
    fn the_views_agree_while_peers_come_and_go() {
        let (mut node, addr) = listening(Config::default(), Recorder::default());
        let mut peers = Vec::new();
        for _ in 0..5 {
            peers.push(raw::join(&mut node, addr));
            assert_consistent(&mut node, &peers);
        }
        for index in [2, 0, 1, 1, 0] {
            let (conn, peer) = peers.remove(index);
            let addr = peer.local_addr().unwrap();
            drop(peer);
            raw::until_ended(&mut node, conn);
            assert!(node.net().connection(conn).is_none());
            assert_eq!(node.net().find(addr), None);
            assert_consistent(&mut node, &peers);
        }
    }

    #[test]
    fn a_connection_that_is_ending_is_not_found_any_more() {
        let (mut node, conn, peer) = raw::wire(Config::default(), Recorder::default());
        let addr = peer.local_addr().unwrap();
        node.net().close(conn);
        assert_eq!(node.net().find(addr), None);
        assert_eq!(node.net().connections().count(), 0);
        assert_eq!(node.net().connection_count(), 0);
        let state = node.net().connection(conn).map(|peer| peer.state());
        assert_eq!(state, Some(ConnectionState::Closing));
    }

    #[test]
    fn inside_on_disconnect_the_connection_is_still_known() {
        let (notes, known) = notebook::<Vec<_>>();
        let handler = Recorder::reacting(move |net, event| {
            if let Event::Disconnect(conn, _) = event {
                let refused = net.send(*conn, b"too late").is_err();
                let known = net
                    .connection(*conn)
                    .map(|peer| (peer.info().addr, refused));
                notes.lock().unwrap().push((known, net.connection_count()));
            }
        });
        let (mut node, conn, peer) = raw::wire(Config::default(), handler);
        let addr = peer.local_addr().unwrap();
        drop(peer);
        raw::until_ended(&mut node, conn);
        assert_eq!(*known.lock().unwrap(), [(Some((addr, true)), 0)]);
    }

    /// Keeps a tally for each connection, the way the documentation says.
    #[derive(Default)]
    struct Tally {
        messages: ConnMap<u32>,
        /// Of the connections that have ended.
        ended: Vec<u32>,
    }

    impl Handler for Tally {
        fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
            let left_behind = self.messages.insert(conn, 0);
            self.ended.extend(left_behind);
        }

        fn on_message(&mut self, _: &mut Net, conn: ConnId, _: &[u8]) {
            self.messages[conn] += 1;
        }

        fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
            self.ended.extend(self.messages.remove(conn));
        }
    }

    #[test]
    fn a_map_by_connection_follows_them_through_reused_slots() {
        use std::io::Write;
        let mut node = Node::new(Config::default(), Tally::default()).unwrap();
        let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
        for round in 1..=3 {
            let peers = [1, 2, 3].map(|count| {
                let mut peer = raw::connect(addr);
                peer.write_all(&frame(b"x").repeat(count)).unwrap();
                peer
            });
            run_until_seen(&mut node, |tally| tally.messages.values().sum::<u32>() == 6);
            let tally = &node.handler().messages;
            assert_eq!((tally.len(), tally.keys().count()), (3, 3));
            drop(peers);
            run_until_seen(&mut node, |tally| tally.messages.is_empty());
            let mut ended = node.handler().ended.clone();
            ended.sort();
            assert_eq!(ended.len(), 3 * round);
            assert_eq!(ended, [1, 2, 3].map(|count| [count].repeat(round)).concat());
        }
    }
}

mod settings {
    use std::io::ErrorKind;

    use peerloop::config::Timeouts;
    use peerloop::error::ConfigError;
    use peerloop::framing::Framing;

    use super::*;

    #[test]
    fn one_that_cannot_work_is_named_before_anything_is_started() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 20] = [
            ("max_message_len", |config| {
                config.connection.max_message_len = 0
            }),
            ("limits.max_connections", |config| {
                config.limits.max_connections = 0
            }),
            ("send_queue.high_bytes", |config| {
                config.connection.send_queue.high_bytes = 0
            }),
            ("send_queue.low_bytes", |config| {
                config.connection.send_queue.low_bytes = config.connection.send_queue.high_bytes + 1
            }),
            ("send_queue.max_bytes", |config| {
                config.connection.send_queue.max_bytes = config.connection.send_queue.high_bytes - 1
            }),
            ("limits.loop_send_bytes", |config| {
                config.limits.loop_send_bytes = 1
            }),
            ("read_buffer_bytes", |config| {
                config.read_buffer_bytes = 4095
            }),
            ("budget.read_bytes", |config| config.budget.read_bytes = 0),
            ("budget.write_bytes", |config| config.budget.write_bytes = 0),
            ("budget.accepts", |config| config.budget.accepts = 0),
            ("budget.commands", |config| config.budget.commands = 0),
            ("commands.max_commands", |config| {
                config.commands.max_commands = 0
            }),
            ("accept_backoff", |config| {
                config.accept_backoff = Duration::ZERO
            }),
            ("sockets.send_buffer_bytes", |config| {
                config.sockets.send_buffer_bytes = Some(0)
            }),
            ("sockets.receive_buffer_bytes", |config| {
                config.sockets.receive_buffer_bytes = Some(0)
            }),
            ("sockets.keepalive", |config| {
                config.sockets.keepalive = Some(Duration::ZERO)
            }),
            ("framing", |config| {
                config.connection.framing = Framing::Fixed(0)
            }),
            ("framing", |config| {
                config.connection.framing = Framing::Fixed(config.connection.max_message_len + 1);
            }),
            ("timeouts.connect", |config| {
                config.connection.timeouts.connect = Some(Duration::ZERO);
            }),
            ("timeouts.linger", |config| {
                config.connection.timeouts.linger = Some(Duration::ZERO);
            }),
        ];
        for (field, change) in cases {
            let mut config = Config::default();
            change(&mut config);
            let error = Node::new(config, Recorder::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(field), "{error}");
            let inner = error.into_inner().expect("the reason");
            let inner = inner.downcast::<ConfigError>().expect("its type");
            assert_eq!(inner.field, field);
        }
    }

    #[test]
    fn those_that_were_made_are_those_that_are_read() {
        let config = Config {
            name: "Ada".to_owned(),
            limits: Limits {
                max_connections: 7,
                ..Default::default()
            },
            connection: ConnectionConfig {
                timeouts: Timeouts {
                    connect: None,
                    linger: None,
                    ..Timeouts::default()
                },
                ..Default::default()
            },
            ..Config::default()
        };
        let mut named = node(config, Recorder::default());
        assert_eq!(named.net().name(), "Ada");
        assert_eq!(named.net().config().limits.max_connections, 7);
        assert_eq!(named.net().config().connection.timeouts.connect, None);
        let names = [(); 2].map(|()| {
            let mut unnamed = node(Config::default(), Recorder::default());
            let name = unnamed.net().name().to_owned();
            name.parse::<u64>().expect("a number")
        });
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn those_of_a_socket_reach_it() {
        use std::os::fd::AsFd;
        let handed_in = bound([127, 0, 0, 1]);
        let watched = Socket::from(handed_in.as_fd().try_clone_to_owned().unwrap());
        let config = Config {
            sockets: SocketConfig {
                nodelay: true,
                keepalive: Some(Duration::from_secs(77)),
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut listener, addr) = listening(Config::default(), Recorder::default());
        let mut connector = node(config, Recorder::default());
        let mut options = connector.net().connect_options();
        options.bound_socket = Some(handed_in.into());
        let conn = connector.net().connect_with(addr, options).unwrap();
        run_until([&mut connector, &mut listener], |[connector, _]| {
            connector.handler().connected() == [conn]
        });
        assert!(watched.tcp_nodelay().unwrap() && watched.keepalive().unwrap());
        let time = watched.tcp_keepalive_time().unwrap();
        assert_eq!(time, Duration::from_secs(77));
    }
}

mod shutting_down {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Like `Node::run`, with a bound.
    fn run(node: &mut TestNode) {
        let end = Instant::now() + crate::util::PATIENCE;
        while crate::util::turn(node, Some(Duration::from_millis(1))) != Turn::Stopped {
            assert!(Instant::now() < end, "it does not stop");
        }
        node.run().expect("it has stopped for good");
    }

    /// Only the grace ends a connection whose peer does nothing.
    fn without_linger() -> Config {
        Config {
            connection: ConnectionConfig {
                timeouts: Timeouts {
                    linger: None,
                    ..Timeouts::default()
                },
                ..Default::default()
            },
            ..Config::default()
        }
    }

    #[test]
    fn gracefully_lets_everything_leave_that_was_queued() {
        let (mut node, conn, mut peer) = raw::wire(Config::default(), Recorder::default());
        let addr = node.net().listeners().next().unwrap().addr;
        for _ in 0..30 {
            node.net().send(conn, &[7; 100_000]).unwrap();
        }
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received.len())
        });
        node.net().shutdown(crate::util::PATIENCE);
        run(&mut node);
        assert_eq!(reader.join().unwrap().unwrap(), 30 * 100_004);
        assert_eq!(node.handler().ended(conn), Some(DisconnectReason::Shutdown));
        assert_eq!(node.net().metrics().bytes_lost, 0);
        TcpListener::bind(addr).expect("the port is free");
    }

    #[test]
    fn ends_what_is_left_when_the_grace_is_over_and_not_earlier() {
        let mut config = without_linger();
        config.sockets.send_buffer_bytes = Some(4096);
        config.connection.send_queue.max_bytes = 32 << 20;
        let (mut node, conn, _peer) = raw::wire(config, Recorder::default());
        node.net().send(conn, &[7; 8 << 20]).unwrap();
        let begun = Instant::now();
        node.net().shutdown(Duration::from_millis(60));
        run(&mut node);
        assert!(begun.elapsed() >= Duration::from_millis(60));
        assert_eq!(node.handler().ended(conn), Some(DisconnectReason::Shutdown));
        assert!(node.net().metrics().bytes_lost > 0);
        assert_eq!(node.net().metrics().queued_bytes, 0);
    }

    #[test]
    fn the_shortest_grace_counts_however_often_it_is_asked() {
        let graces = [3600, 0, 3600].map(Duration::from_secs);
        let (mut node, conn, _peer) = raw::wire(without_linger(), Recorder::default());
        for grace in graces {
            node.net().shutdown(grace);
        }
        run(&mut node);
        node.net().shutdown(Duration::ZERO);
        assert_eq!(crate::util::turn(&mut node, None), Turn::Stopped);
        let ends = |event: &Event| matches!(event, Event::Disconnect(..));
        assert_eq!(node.handler().count(ends), 1);
        assert!(node.handler().ended(conn).is_some());
    }

    #[test]
    fn a_shorter_grace_counts_although_the_first_one_has_begun() {
        let (mut node, conn, _peer) = raw::wire(without_linger(), Recorder::default());
        node.net().shutdown(Duration::from_secs(3600));
        raw::settle(&mut node);
        assert_eq!(node.handler().ended(conn), None, "it waits for the peer");
        node.net().shutdown(Duration::ZERO);
        run(&mut node);
        assert_eq!(node.handler().ended(conn), Some(DisconnectReason::Shutdown));
    }

    #[test]
    fn connects_under_way_fail_with_that_reason_and_are_never_disconnected() {
        for grace in [Duration::ZERO, Duration::from_secs(3600)] {
            for begun in [false, true] {
                let (_listener, addr, _crowd) = saturated();
                let mut node = node(Config::default(), Recorder::default());
                let conn = node.net().connect(addr).unwrap();
                if begun {
                    raw::settle(&mut node);
                }
                node.net().shutdown(grace);
                run(&mut node);
                let failed = Event::ConnectFailed(conn, ConnectError::ShuttingDown);
                assert_eq!(node.handler().events, [Event::Start, failed]);
            }
        }
    }

    #[test]
    fn nobody_comes_in_or_goes_out_from_the_call_on() {
        let (notes, answers) = notebook::<Vec<_>>();
        let handler = Recorder::reacting(move |net, event| {
            if let Event::Message(..) = event {
                net.shutdown(Duration::ZERO);
                let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
                let connect = net.connect(nowhere).map(|_| ());
                let listen = net.listen("127.0.0.1:0").map_err(|error| error.kind());
                notes.lock().unwrap().push((connect, listen));
            }
        });
        let (mut node, _, mut peer) = raw::wire(Config::default(), handler);
        peer.write_all(&frame(b"stop")).unwrap();
        run(&mut node);
        let refused = (
            Err(ConnectError::ShuttingDown),
            Err(std::io::ErrorKind::Other),
        );
        assert_eq!(*answers.lock().unwrap(), [refused]);
        let events = node.handler().events.len();
        node.net()
            .connect(SocketAddr::from(([127, 0, 0, 1], 9)))
            .unwrap_err();
        node.net().listen("127.0.0.1:0").unwrap_err();
        run(&mut node);
        assert_eq!(node.handler().events.len(), events);
        assert_eq!(node.net().listeners().count(), 0);
    }

    #[test]
    fn a_node_without_connections_stops_at_once() {
        let mut idle = node(Config::default(), Recorder::default());
        idle.net().shutdown(Duration::from_secs(3600));
        idle.run().unwrap();
        assert_eq!(crate::util::turn(&mut idle, None), Turn::Stopped);
        assert_eq!(idle.handler().events, [Event::Start]);
    }

    #[test]
    fn a_peer_that_ends_too_is_all_that_a_grace_waits_for() {
        let (mut a, to_b, mut b, to_a) =
            pair(Config::default(), Recorder::default(), Recorder::default());
        a.net().send(to_b, b"last words").unwrap();
        a.net().shutdown(Duration::from_secs(3600));
        run_until([&mut a, &mut b], |[a, b]| {
            b.handler().ended(to_a).is_some() && crate::util::turn(a, None) == Turn::Stopped
        });
        assert_eq!(b.handler().messages(to_a), [b"last words"]);
        assert_eq!(b.handler().ended(to_a), Some(DisconnectReason::PeerClosed));
        assert_eq!(a.handler().ended(to_b), Some(DisconnectReason::Shutdown));
    }

    #[test]
    fn dropping_a_node_closes_everything_without_a_callback() {
        let (notes, called) = notebook::<Vec<_>>();
        let handler = Recorder::reacting(move |_, event| {
            if let Event::Disconnect(..) = event {
                notes.lock().unwrap().push(());
            }
        });
        let (mut node, conn, mut peer) = raw::wire(Config::default(), handler);
        let addr = node.net().listeners().next().unwrap().addr;
        let (_, mut idle) = raw::join(&mut node, addr);
        node.net().send(conn, b"never sent").unwrap();
        drop(node);
        let mut received = Vec::new();
        let cut = peer.read_to_end(&mut received).unwrap_err();
        assert_eq!(cut.kind(), std::io::ErrorKind::ConnectionReset);
        idle.read_to_end(&mut received).expect("a clean end");
        assert_eq!(received, b"");
        TcpListener::bind(addr).expect("the port is free");
        assert_eq!(called.lock().unwrap().len(), 0);
    }
}

mod embedding {
    use std::io::{Read, Write};
    use std::thread;

    #[cfg(not(mio_unsupported_force_poll_poll))]
    use mio::{Events, Interest, Poll, Token};
    use peerloop::Handle;

    use super::*;

    fn is_send<T: Send>(_: &T) {}

    fn is_send_and_sync<T: Send + Sync>(_: &T) {}

    #[test]
    fn a_node_is_built_in_one_thread_and_runs_in_another() {
        let (node, addr) = listening(Config::default(), Recorder::echo());
        let handle = node.handle();
        is_send(&node);
        is_send_and_sync::<Handle<Recorder>>(&handle);
        let looping = thread::spawn(move || {
            let mut node = node;
            node.run().map(|()| node)
        });
        let mut peer = raw::connect(addr);
        peer.write_all(&frame(b"over there")).unwrap();
        let mut answer = [0; 14];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..], frame(b"over there"));
        handle.shutdown(Duration::ZERO);
        let node = looping.join().unwrap().unwrap();
        assert_eq!(node.handler().connected().len(), 1);
    }

    #[test]
    fn a_turn_without_a_timeout_to_wait_for_returns_at_once_and_another_waits() {
        let mut node = node(Config::default(), Recorder::default());
        for _ in 0..10 {
            assert_eq!(node.turn(Some(Duration::ZERO)).unwrap(), Turn::Waiting);
        }
        let begun = Instant::now();
        let turn = node.turn(Some(Duration::from_millis(20))).unwrap();
        assert_eq!(turn, Turn::Waiting);
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn timeout_says_when_the_next_turn_is_due() {
        // Without the deadlines that every open connection has.
        let timeouts = Timeouts {
            idle: None,
            partial_message: None,
            write_stall: None,
            ..Timeouts::default()
        };
        let config = Config {
            connection: ConnectionConfig {
                timeouts,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::default());
        assert_eq!(node.timeout(), Some(Duration::ZERO), "on_start is due");
        raw::settle(&mut node);
        assert_eq!(node.timeout(), None);
        let timer = node.net().set_timer(Duration::from_secs(60), 1);
        let timeout = node.timeout().expect("a timer is set");
        assert!(timeout <= Duration::from_secs(60) && !timeout.is_zero());
        node.net().cancel_timer(timer);
        assert_eq!(node.timeout(), None);
        node.handle().post(|_, _| ()).unwrap();
        assert_eq!(node.timeout(), Some(Duration::ZERO), "a command waits");
        raw::settle(&mut node);
        let (conn, _peer) = raw::join(&mut node, addr);
        assert_eq!(node.timeout(), None);
        let calls: [fn(&mut Net, ConnId); 4] = [
            |net, conn| net.send(conn, b"x").unwrap(),
            |net, conn| net.pause(conn),
            |net, conn| net.resume(conn),
            Net::close,
        ];
        for (call, expected) in calls.into_iter().zip([true, false, true, true]) {
            call(node.net(), conn);
            let at_once = node.timeout() == Some(Duration::ZERO);
            assert_eq!(at_once, expected);
            raw::settle(&mut node);
        }
        assert!(node.timeout().is_some(), "it lingers");
    }

    /// A poll loop of somebody else's, that watches a node's descriptor.
    #[cfg(not(mio_unsupported_force_poll_poll))]
    struct ForeignLoop {
        poll: Poll,
        events: Events,
        _watched: mio::net::TcpStream,
    }

    #[cfg(not(mio_unsupported_force_poll_poll))]
    impl ForeignLoop {
        fn watching(node: &TestNode) -> Self {
            let poll = Poll::new().unwrap();
            // Any descriptor can be watched through a type that only registers it.
            let watched = node.as_fd().try_clone_to_owned().unwrap();
            let mut watched = mio::net::TcpStream::from_std(TcpStream::from(watched));
            let registry = poll.registry();
            registry
                .register(&mut watched, Token(0), Interest::READABLE)
                .unwrap();
            Self {
                poll,
                events: Events::with_capacity(8),
                _watched: watched,
            }
        }

        /// Whether the node's descriptor became readable within this time.
        fn wait(&mut self, timeout: Option<Duration>) -> bool {
            self.poll.poll(&mut self.events, timeout).unwrap();
            !self.events.is_empty()
        }
    }

    #[cfg(not(mio_unsupported_force_poll_poll))]
    #[test]
    fn the_descriptor_is_readable_when_a_turn_is_due() {
        let (mut node, addr) = listening(Config::default(), Recorder::default());
        let mut outside = ForeignLoop::watching(&node);
        raw::settle(&mut node);
        outside.wait(Some(Duration::ZERO));
        assert!(!outside.wait(Some(Duration::ZERO)), "nothing is due");
        let mut peer = raw::connect(addr);
        assert!(
            outside.wait(Some(crate::util::PATIENCE)),
            "somebody connects"
        );
        raw::settle(&mut node);
        assert_eq!(node.handler().connected().len(), 1);
        peer.write_all(&frame(b"x")).unwrap();
        assert!(outside.wait(Some(crate::util::PATIENCE)), "a message comes");
        raw::settle(&mut node);
        let handle = node.handle();
        thread::spawn(move || handle.post(|_, _| ()))
            .join()
            .unwrap()
            .unwrap();
        assert!(outside.wait(Some(crate::util::PATIENCE)), "a command comes");
    }

    #[cfg(not(mio_unsupported_force_poll_poll))]
    #[test]
    fn nested_in_another_loop_nothing_is_missed() {
        let handler = Recorder::reacting(|net, event| match event {
            // Half of the answers are given at once, and half by a timer a little later.
            Event::Message(conn, message) if message[0] % 2 == 0 => {
                net.send(*conn, message).expect("there is room");
            }
            Event::Message(_, message) => {
                net.set_timer(Duration::from_micros(300), message[0].into());
            }
            Event::Timer(_, key) => {
                let conn = net.connections().next().expect("there is one");
                net.send(conn.id(), &[*key as u8]).expect("there is room");
            }
            _ => {}
        });
        let (mut node, addr) = listening(Config::default(), handler);
        let mut outside = ForeignLoop::watching(&node);
        let peer = thread::spawn(move || {
            let mut peer = raw::connect(addr);
            for number in 0..200 {
                peer.write_all(&frame(&[number])).expect("room");
                let mut answer = [0; 5];
                peer.read_exact(&mut answer).expect("an answer");
                assert_eq!(answer[..], frame(&[number]));
            }
        });
        let end = Instant::now() + crate::util::PATIENCE;
        while node
            .handler()
            .count(|event| matches!(event, Event::Disconnect(..)))
            == 0
        {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "something was missed");
            // As the documentation says: until it is readable, and no longer than the timeout.
            outside.wait(node.timeout().map_or(Some(left), Some));
            let _ = node.turn(Some(Duration::ZERO)).unwrap();
        }
        peer.join().unwrap();
    }
}
