//! What the interface promises of addresses, listeners, transports, errors and adopted
//! sockets.

use std::collections::HashSet;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::util::{PATIENCE, raw};
use peerloop::config::{ConnectionConfig, OnPanic, Timeouts};
use peerloop::error::{TimeoutKind, TransportError};
use peerloop::{
    Admission, Body, Config, ConnId, ConnInfo, ConnectError, ConnectionState, Direction,
    DisconnectReason, Handler, ListenerId, Net, Node, SendError, Transport,
};

/// A handler that keeps what it is told, and whose answers a test chooses.
#[derive(Default)]
struct Log {
    banned: HashSet<IpAddr>,
    accepted: Vec<ConnInfo>,
    /// Pauses and resumes inside `transport`.
    pauses_early: bool,
    transport_error: Option<&'static str>,
    asked: Vec<(ConnId, ConnInfo)>,
    connected: Vec<ConnId>,
    messages: Vec<(ConnId, Vec<u8>)>,
    /// Messages received so far, as each `on_message` saw them.
    counted: Vec<(u64, u64)>,
    failed: Vec<(ConnId, ConnInfo, ConnectError)>,
    ended: Vec<(ConnId, DisconnectReason)>,
}

impl Handler for Log {
    fn on_accept(&mut self, _: &mut Net, info: &ConnInfo) -> Admission {
        self.accepted.push(*info);
        if self.banned.contains(&info.addr.ip()) {
            Admission::Refuse
        } else {
            Admission::Admit
        }
    }

    fn transport(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        self.asked.push((conn, *info));
        if self.pauses_early {
            net.pause(conn);
            net.resume(conn);
        }
        match self.transport_error {
            Some(error) => Err(error.into()),
            None => Ok(Transport::Plain),
        }
    }

    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.connected.push(conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let traffic = net.connection(conn).expect("it is open").traffic();
        assert_eq!(net.traffic(), traffic, "it is the only connection");
        self.counted
            .push((traffic.messages_received, traffic.bytes_received));
        self.messages.push((conn, message.to_vec()));
    }

    fn on_connect_failed(
        &mut self,
        _: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        self.failed.push((conn, *info, error));
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.ended.push((conn, reason));
    }
}

type LogNode = Node<Log>;

fn config() -> Config {
    Config {
        on_panic: OnPanic::Unwind,
        ..Config::default()
    }
}

fn node(handler: Log) -> LogNode {
    Node::new(config(), handler).expect("a node")
}

/// Runs the node until the condition holds, within a bound.
#[track_caller]
fn until(node: &mut LogNode, what: &str, mut condition: impl FnMut(&mut LogNode) -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !condition(node) {
        assert!(std::time::Instant::now() < end, "{what}");
        let _ = node.turn(Some(Duration::from_millis(5))).expect("a turn");
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a short body");
    [&len.to_be_bytes(), body].concat()
}

mod pause_before_open {
    use super::*;

    #[test]
    fn while_connecting() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut node = node(Log::default());
        let conn = node.net().connect(listener.local_addr().unwrap()).unwrap();
        node.net().pause(conn);
        node.net().resume(conn);
        until(&mut node, "connected", |node| {
            !node.handler().connected.is_empty()
        });
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(&frame(b"x")).unwrap();
        until(&mut node, "a message", |node| {
            !node.handler().messages.is_empty()
        });
        assert_eq!(node.handler().connected, [conn]);
    }

    #[test]
    fn while_handshaking() {
        let mut node = node(Log {
            pauses_early: true,
            ..Log::default()
        });
        let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
        let mut peer = raw::connect(addr);
        peer.write_all(&frame(b"x")).unwrap();
        until(&mut node, "a message", |node| {
            !node.handler().messages.is_empty()
        });
    }

    #[test]
    fn a_pause_that_lasts_holds_the_first_message() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut node = node(Log::default());
        let conn = node.net().connect(listener.local_addr().unwrap()).unwrap();
        node.net().pause(conn);
        until(&mut node, "connected", |node| {
            !node.handler().connected.is_empty()
        });
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(&frame(b"x")).unwrap();
        for _ in 0..5 {
            let _ = node.turn(Some(Duration::from_millis(5))).unwrap();
        }
        assert!(node.handler().messages.is_empty(), "it is paused");
        node.net().resume(conn);
        until(&mut node, "a message", |node| {
            !node.handler().messages.is_empty()
        });
    }

    #[test]
    fn the_idle_timeout_still_ends_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config {
            connection: ConnectionConfig {
                timeouts: Timeouts {
                    idle: Some(Duration::from_millis(100)),
                    ..Default::default()
                },
                ..Default::default()
            },
            ..config()
        };
        let mut node = Node::new(config, Log::default()).unwrap();
        let conn = node.net().connect(listener.local_addr().unwrap()).unwrap();
        node.net().pause(conn);
        node.net().resume(conn);
        until(&mut node, "the end", |node| {
            !node.handler().ended.is_empty()
        });
        let idle = DisconnectReason::Timeout(TimeoutKind::Idle);
        assert_eq!(node.handler().ended, [(conn, idle)]);
    }
}

mod addresses {
    use super::*;

    /// A dual-stack listener; its port.
    fn dual_stack(node: &mut LogNode) -> u16 {
        let listening = node.net().listen("[::]:0").expect("IPv6 on this machine");
        listening.addr.port()
    }

    #[test]
    fn a_ban_list_of_ipv4_addresses_holds_on_a_dual_stack_listener() {
        let mut node = node(Log {
            banned: [IpAddr::V4(Ipv4Addr::LOCALHOST)].into(),
            ..Log::default()
        });
        let port = dual_stack(&mut node);
        let mut peer = raw::connect(SocketAddr::from(([127, 0, 0, 1], port)));
        until(&mut node, "on_accept", |node| {
            !node.handler().accepted.is_empty()
        });
        assert!(matches!(peer.read(&mut [0]), Ok(0) | Err(_)), "refused");
        assert!(node.handler().connected.is_empty());
        assert_eq!(node.net().metrics().refused_by_handler, 1);
    }

    #[test]
    fn callbacks_and_views_have_the_canonical_address() {
        let mut node = node(Log::default());
        let port = dual_stack(&mut node);
        let peer = raw::connect(SocketAddr::from(([127, 0, 0, 1], port)));
        until(&mut node, "connected", |node| {
            !node.handler().connected.is_empty()
        });
        let conn = node.handler().connected[0];
        let (_, info) = node.handler().asked[0];
        assert_eq!(info.addr, peer.local_addr().unwrap());
        assert_eq!(info.local_addr, Some(peer.peer_addr().unwrap()));
        assert_eq!(node.handler().accepted, [info]);
        let net = node.net();
        assert_eq!(net.connection(conn).unwrap().info(), info);
        assert_eq!(net.find(peer.local_addr().unwrap()), Some(conn));
    }

    #[test]
    fn connect_takes_numeric_addresses_only() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut node = node(Log::default());
        let net = node.net();
        let text = addr.to_string();
        let mut options = net.connect_options();
        options.allow_duplicate = true;
        net.connect(text.as_str()).unwrap();
        net.connect_with((addr.ip(), addr.port()), options).unwrap();
        for bad in ["localhost:80", "127.0.0.1", "127.0.0.1:0", ""] {
            assert_eq!(net.connect(bad), Err(ConnectError::InvalidAddress), "{bad}");
        }
        let error = ConnectError::InvalidAddress.to_string();
        assert!(error.contains("connect_wait"), "{error}");
    }
}

mod listeners {
    use super::*;

    /// The listener by which a client of this address came in.
    fn came_in_by(node: &mut LogNode, addr: SocketAddr) -> Option<ListenerId> {
        let before = node.handler().asked.len();
        let _peer = raw::connect(addr);
        until(node, "connected", |node| {
            node.handler().asked.len() > before
        });
        let (conn, info) = node.handler().asked[before];
        let view = node.net().connection(conn).map(|c| c.listener());
        assert_eq!(view, Some(info.listener));
        info.listener
    }

    #[test]
    fn unspecified_addresses_tell_which_listener_accepted() {
        let mut node = node(Log::default());
        let plain = node.net().listen("0.0.0.0:0").unwrap();
        let secured = node.net().listen("0.0.0.0:0").unwrap();
        let v6 = node.net().listen("[::]:0").expect("IPv6 on this machine");
        assert!(plain.id != secured.id && secured.id != v6.id);
        for listening in [plain, secured, v6] {
            let addr = SocketAddr::from(([127, 0, 0, 1], listening.addr.port()));
            assert_eq!(came_in_by(&mut node, addr), Some(listening.id));
        }
        let mut listeners: Vec<_> = node.net().listeners().collect();
        listeners.sort_by_key(|listening| listening.id);
        assert_eq!(listeners, [plain, secured, v6]);
        assert_eq!(plain.to_string(), plain.addr.to_string());
    }

    #[test]
    fn a_closed_listener_accepts_no_more_and_its_id_is_stale() {
        let mut node = node(Log::default());
        let first = node.net().listen("127.0.0.1:0").unwrap();
        let second = node.net().listen("127.0.0.1:0").unwrap();
        node.net().close_listener(first.id);
        node.net().close_listener(first.id);
        let refused = TcpStream::connect(first.addr).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(came_in_by(&mut node, second.addr), Some(second.id));
        let third = node.net().listen(first.addr).expect("the port is free");
        assert_ne!(third.id, first.id, "an id is given out once");
    }

    #[test]
    fn an_inherited_socket_is_a_listener_like_others() {
        let inherited = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = inherited.local_addr().unwrap();
        let mut node = node(Log::default());
        let mut options = node.listen_options();
        options.connection_mut().max_message_len = 3;
        let listening = node.net().listen_on(inherited, options).unwrap();
        assert_eq!(listening.addr, addr);
        let mut peer = raw::connect(addr);
        peer.write_all(&frame(b"long")).unwrap();
        until(&mut node, "the end", |node| {
            !node.handler().ended.is_empty()
        });
        let reason = DisconnectReason::MessageTooLarge { len: 4, max: 3 };
        assert_eq!(node.handler().ended[0].1, reason);
        assert_eq!(node.handler().asked[0].1.listener, Some(listening.id));
    }

    #[test]
    fn connections_of_an_inherited_socket_have_the_options() {
        let inherited = TcpListener::bind("127.0.0.1:0").unwrap();
        // This one waits in the socket before the node has it.
        let _first = raw::connect(inherited.local_addr().unwrap());
        let mut node = node(Log::default());
        let options = node.listen_options();
        let listening = node.net().listen_on(inherited, options).unwrap();
        let _second = raw::connect(listening.addr);
        until(&mut node, "both", |node| {
            node.handler().connected.len() == 2
        });
        for conn in node.handler().connected.clone() {
            let socket = node.net().socket(conn).expect("it is open");
            assert!(socket2::SockRef::from(&socket).tcp_nodelay().unwrap());
        }
    }

    #[test]
    fn ipv4_is_accepted_on_ipv6_unless_told_otherwise() {
        let mut node = node(Log::default());
        for v6_only in [false, true] {
            let mut options = node.listen_options();
            options.v6_only = v6_only;
            let listening = node.net().listen_with("[::]:0", options).unwrap();
            let addr = (Ipv4Addr::LOCALHOST, listening.addr.port());
            assert_eq!(TcpStream::connect(addr).is_err(), v6_only);
        }
    }
}

mod transports {
    use super::*;

    /// A node whose connections must have a session, and how it reported one without.
    fn reported(handler: Log, require_session: bool) -> (ConnId, ConnInfo, ConnectError) {
        let config = Config {
            connection: ConnectionConfig {
                require_session,
                ..Default::default()
            },
            ..config()
        };
        let mut node = Node::new(config, handler).unwrap();
        let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
        let mut peer = raw::connect(addr);
        until(&mut node, "on_connect_failed", |node| {
            !node.handler().failed.is_empty()
        });
        assert!(matches!(peer.read(&mut [0]), Ok(0) | Err(_)), "closed");
        assert!(node.handler().connected.is_empty());
        assert!(node.handler().ended.is_empty());
        assert_eq!(node.handler().failed.len(), 1);
        node.handler().failed[0]
    }

    #[test]
    fn a_required_session_lets_no_plaintext_pass() {
        let (_, info, error) = reported(Log::default(), true);
        let required = TransportError::SessionRequired;
        assert_eq!(error, ConnectError::Transport(required));
        assert_eq!(info.direction, Direction::Inbound);
        assert!(!error.is_peers_fault());
    }

    #[test]
    fn an_error_of_the_handler_ends_the_connection() {
        let handler = Log {
            transport_error: Some("no key"),
            ..Log::default()
        };
        let (_, _, error) = reported(handler, false);
        let handler = TransportError::Handler;
        assert_eq!(error, ConnectError::Transport(handler));
    }
}

mod errors {
    use super::*;
    use crate::util::child::{self, test_path};

    #[test]
    fn child_with_few_descriptors() {
        if !child::is_child() {
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config {
            allow_duplicates: true,
            ..config()
        };
        let mut node = Node::new(config, Log::default()).unwrap();
        for _ in 0..100 {
            let addr = listener.local_addr().unwrap();
            let _ = node.net().connect(addr);
            let _ = node.turn(Some(Duration::ZERO)).unwrap();
        }
        let (_, _, error) = *node.handler().failed.first().expect("one has failed");
        println!("TEXT {error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn descriptor_exhaustion_reaches_the_user_in_the_systems_words() {
        let output = child::command(test_path!(child_with_few_descriptors), Some(24))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("TEXT Too many open files"), "{text}");
    }

    #[test]
    fn a_refused_connect_has_its_kind_and_its_code() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let mut node = node(Log::default());
        let conn = node.net().connect(addr).unwrap();
        until(&mut node, "a failure", |node| {
            !node.handler().failed.is_empty()
        });
        let (failed, info, error) = node.handler().failed[0];
        assert_eq!((failed, info.addr), (conn, addr));
        assert_eq!(info.direction, Direction::Outbound);
        let ConnectError::Io(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.kind, ErrorKind::ConnectionRefused);
        let code = error.code.expect("the system has one");
        let text = std::io::Error::from_raw_os_error(code).to_string();
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn a_socket_that_is_connected_already_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut node = node(Log::default());
        let mut options = node.connect_options();
        options.bound_socket = Some(TcpStream::connect(addr).unwrap());
        node.net().connect_with(addr, options).unwrap();
        until(&mut node, "a failure", |node| {
            !node.handler().failed.is_empty()
        });
        let text = node.handler().failed[0].2.to_string();
        assert!(text.contains("connected"), "{text}");
    }
}

mod adopted {
    use super::*;

    /// A connected pair of streams.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        theirs.set_read_timeout(Some(PATIENCE)).unwrap();
        (ours, theirs)
    }

    #[test]
    fn a_stream_is_served_and_charged_in_both_directions() {
        for direction in [Direction::Inbound, Direction::Outbound] {
            let (ours, mut theirs) = pair();
            let addr = theirs.local_addr().unwrap();
            let mut config = config();
            config.limits.max_connections = 1;
            let mut node = Node::new(config, Log::default()).unwrap();
            let conn = node.net().adopt(ours, direction).unwrap();
            let one_more = node.net().adopt(pair().0, direction);
            assert_eq!(one_more, Err(ConnectError::TooManyConnections));
            theirs.write_all(&frame(b"hello")).unwrap();
            until(&mut node, "a message", |node| {
                !node.handler().messages.is_empty()
            });
            assert_eq!(node.handler().messages, [(conn, b"hello".to_vec())]);
            assert!(node.handler().accepted.is_empty(), "no on_accept");
            let info = node.net().connection(conn).unwrap().info();
            assert_eq!((info.direction, info.addr), (direction, addr));
            assert_eq!(info.listener, None);
            assert_eq!(node.net().connection_count_of(direction), 1);
            node.net().send_and_close(conn, "bye").unwrap();
            let mut reply = [0; 7];
            until(&mut node, "the reply is sent", |node| {
                let view = node.net().connection(conn);
                view.is_none_or(|connection| connection.queued_bytes() == 0)
            });
            theirs.read_exact(&mut reply).unwrap();
            assert_eq!(reply[..], frame(b"bye"));
        }
    }

    #[test]
    fn a_stream_can_have_options_that_apply_to_it() {
        let mut node = node(Log::default());
        let mut options = node.connect_options();
        options.connection_mut().max_message_len = 3;
        let (ours, mut theirs) = pair();
        node.net()
            .adopt_with(ours, Direction::Inbound, options)
            .unwrap();
        theirs.write_all(&frame(b"long")).unwrap();
        until(&mut node, "the end", |node| {
            !node.handler().ended.is_empty()
        });
        let reason = DisconnectReason::MessageTooLarge { len: 4, max: 3 };
        assert_eq!(node.handler().ended[0].1, reason);

        let mut options = node.connect_options();
        options.source = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let adopted = node.net().adopt_with(pair().0, Direction::Inbound, options);
        assert_eq!(adopted, Err(ConnectError::InvalidOption("source")));
    }

    #[test]
    fn a_stream_that_is_not_connected_is_an_error() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let mut node = node(Log::default());
        let result = node.net().adopt(socket.unwrap().into(), Direction::Inbound);
        let Err(ConnectError::Io(error)) = result else {
            panic!("{result:?}");
        };
        assert_eq!(error.kind, ErrorKind::NotConnected);
        assert_eq!(node.net().connecting_count(), 0);
    }
}

mod sending {
    use super::*;

    /// A node with one connection, and its peer.
    fn connected() -> (LogNode, ConnId, TcpStream) {
        let mut node = node(Log::default());
        let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
        let peer = raw::connect(addr);
        until(&mut node, "connected", |node| {
            !node.handler().connected.is_empty()
        });
        let conn = node.handler().connected[0];
        (node, conn, peer)
    }

    /// Sockets that do not read: a hundred from each of some addresses, since the default settings admit 128.
    #[cfg(target_os = "linux")]
    fn silent_peers(addr: SocketAddr, count: usize) -> Vec<socket2::Socket> {
        let connect = |index: usize| {
            let source = [127, 0, 0, 2 + (index / 100) as u8];
            let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
            let socket = socket2::Socket::new(domain, kind, None).unwrap();
            let source = SocketAddr::from((source, 0));
            socket.bind(&source.into()).unwrap();
            socket.connect(&addr.into()).unwrap();
            socket
        };
        (0..count).map(connect).collect()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_broadcast_is_charged_once() {
        const PEERS: usize = 300;
        const MIB: usize = 1 << 20;
        let mut node = node(Log::default());
        let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
        let peers = silent_peers(addr, PEERS);
        until(&mut node, "connected", |node| {
            node.handler().connected.len() == PEERS
        });
        let all = node.handler().connected.clone();
        let body = peerloop::Bytes::from(vec![5; MIB]);
        let outcome = node.net().broadcast(all, body);
        assert_eq!(outcome.queued, PEERS, "{outcome:?}");
        let charged = node.net().metrics().queued_bytes;
        assert!((MIB..MIB + 1024 * PEERS).contains(&charged), "{charged}");
        // Each has it whole, and the last to be gone discharges it.
        drop(peers);
        until(&mut node, "discharged", |node| {
            node.net().metrics().queued_bytes == 0
        });
    }

    #[test]
    fn every_kind_of_body_is_one_message() {
        let (mut node, conn, mut peer) = connected();
        let net = node.net();
        let parts = [std::io::IoSlice::new(b"p"), std::io::IoSlice::new(b"arts")];
        net.send(conn, b"array").unwrap();
        net.send(conn, &b"slice"[..]).unwrap();
        net.send(conn, "text").unwrap();
        net.send(conn, vec![b'v'; 3]).unwrap();
        net.send(conn, vec![b'o'; 3]).unwrap();
        net.send(conn, String::from("string")).unwrap();
        net.send(conn, peerloop::Bytes::from_static(b"bytes"))
            .unwrap();
        net.send(conn, Body::parts(&parts)).unwrap();
        let bodies: [&[u8]; 8] = [
            b"array", b"slice", b"text", b"vvv", b"ooo", b"string", b"bytes", b"parts",
        ];
        let expected: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
        let mut received = vec![0; expected.len()];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(received, expected);
    }

    #[test]
    fn a_reason_of_the_program_is_reported() {
        let (mut node, conn, mut peer) = connected();
        node.net().abort_with_reason(conn, "too slow");
        until(&mut node, "the end", |node| {
            !node.handler().ended.is_empty()
        });
        let reason = DisconnectReason::Application("too slow");
        assert_eq!(node.handler().ended, [(conn, reason)]);
        assert_eq!(
            peer.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
    }

    #[test]
    fn a_refused_last_message_does_not_close() {
        let (mut node, conn, _peer) = connected();
        let max = node.net().config().connection.max_message_len;
        let result = node.net().send_and_close(conn, vec![0; max + 1]);
        assert_eq!(result, Err(SendError::TooLarge));
        let state = node.net().connection(conn).map(|c| c.state());
        assert_eq!(state, Some(ConnectionState::Connected));
    }

    #[test]
    fn a_broadcast_to_all_leaves_one_out() {
        let (mut node, first, mut peer) = connected();
        let addr = node.net().listeners().next().unwrap().addr;
        let mut other = raw::connect(addr);
        until(&mut node, "connected", |node| {
            node.handler().connected.len() == 2
        });
        let outcome = node.net().broadcast_all("news", Some(first));
        assert_eq!((outcome.queued, outcome.closed), (1, 0));
        let outcome = node.net().broadcast_all("all", None);
        assert_eq!(outcome.queued, 2);
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
        let mut received = [0; 15];
        other.read_exact(&mut received).unwrap();
        assert_eq!(received[..], [frame(b"news"), frame(b"all")].concat());
        let mut received = [0; 7];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(received[..], frame(b"all"));
    }

    #[test]
    fn traffic_includes_the_batch_in_progress() {
        let (mut node, conn, mut peer) = connected();
        let batch = [frame(b"a"), frame(b"bc"), frame(b"def")].concat();
        raw_write(&mut peer, &batch);
        until(&mut node, "three messages", |node| {
            node.handler().messages.len() == 3
        });
        assert_eq!(node.handler().counted, [(1, 5), (2, 11), (3, 18)]);
        let after = node.net().connection(conn).unwrap().traffic();
        assert_eq!((after.messages_received, after.bytes_received), (3, 18));
    }

    fn raw_write(peer: &mut TcpStream, bytes: &[u8]) {
        peer.write_all(bytes).expect("the socket has room");
    }

    #[cfg(unix)]
    #[test]
    fn the_socket_of_a_connection_can_be_set_up() {
        let (mut node, conn, _peer) = connected();
        let net = node.net();
        let socket = net.socket(conn).expect("it is open");
        let socket = socket2::SockRef::from(&socket);
        assert!(socket.tcp_nodelay().unwrap(), "it is the connection's");
        assert_eq!(
            socket.local_addr().unwrap().as_socket(),
            net.connection(conn).unwrap().info().local_addr
        );
        net.abort(conn);
        until(&mut node, "the end", |node| {
            !node.handler().ended.is_empty()
        });
        assert!(node.net().socket(conn).is_none(), "the id is stale");
    }
}
