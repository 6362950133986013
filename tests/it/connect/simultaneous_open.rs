//! A TCP simultaneous open (RFC 9293, section 3.5): two nodes connect to each other,
//! and both ends of the connection are outbound.
#![cfg(all(feature = "noise", target_os = "linux"))]

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::util::outcome::failures;
use crate::util::{Event, Recorder, TestNode, node, run_until};
use peerloop::error::SessionError;
use peerloop::noise::{Noise, Pattern, StaticKey};
use peerloop::session::Role;
use peerloop::{Config, ConnectError, Direction};
use socket2::{Domain, SockFilter, Socket, Type};

/// The way in which a node finds its role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Direction,
    Addresses,
    Keys,
}

/// A node that sends a message on each connection.
fn puncher(rule: Rule, key: StaticKey, peer_key: [u8; 32]) -> TestNode {
    let mut recorder = Recorder::reacting(|net, event| {
        if let Event::Connect(conn) = event {
            net.send(*conn, b"through the hole").expect("room");
        }
    });
    recorder.sessions = Box::new(move |net, conn| {
        let info = net.connection(conn).expect("a connection").info();
        assert_eq!(info.direction, Direction::Outbound);
        let role = match rule {
            Rule::Direction => Some(Role::from(info.direction)),
            Rule::Addresses => info
                .local_addr
                .and_then(|local_addr| Role::by_comparing(&local_addr, &info.addr)),
            Rule::Keys => Role::by_comparing(key.public(), &peer_key),
        };
        let noise = Noise::new(Pattern::XX, role.ok_or(ErrorKind::InvalidInput)?)
            .local_key(&key)
            .remote_key(&peer_key)
            .build()?;
        Ok(Some(Box::new(noise)))
    });
    node(Config::default(), recorder)
}

/// A socket that may share its address with another one of this process.
fn bound(addr: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("Linux 3.9");
    socket.bind(&addr.into()).expect("an address");
    socket
}

fn connect(node: &mut TestNode, socket: Socket, addr: SocketAddr) {
    let mut options = node.connect_options();
    options.bound_socket = Some(TcpStream::from(socket));
    node.net().connect_with(addr, options).expect("a connect");
    let _ = node.turn(Some(Duration::ZERO)).expect("a turn");
}

/// Opens a connection between two nodes simultaneously, and runs them until both have
/// received a message or have failed.
///
/// The first SYN must be lost, as it is in a NAT. On the loopback network a listener
/// does that which drops all of its packets. Without one the first end would be
/// refused at once.
fn punch(rule: Rule) -> [TestNode; 2] {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let [first, second] = [bound(any), bound(any)];
    let addr_of = |socket: &Socket| {
        let addr = socket.local_addr().expect("an address");
        addr.as_socket().expect("an address of IP")
    };
    let (addr_of_a, addr_of_b) = (addr_of(&first), addr_of(&second));
    let hole = bound(addr_of_b);
    // A classic BPF program (bpf(4)) of one instruction, BPF_RET | BPF_K: keep 0 bytes
    // of the packet.
    let filter = [SockFilter::new(6, 0, 0, 0)];
    hole.attach_filter(&filter).expect("a filter");
    hole.listen(1).expect("a listener");

    let [key_a, key_b] = [3, 5].map(|byte| StaticKey::from_secret([byte; 32]));
    let mut a = puncher(rule, key_a.clone(), *key_b.public());
    let mut b = puncher(rule, key_b, *key_a.public());
    connect(&mut a, first, addr_of_b);
    drop(hole);
    connect(&mut b, second, addr_of_a);
    run_until([&mut a, &mut b], |nodes| {
        nodes.iter().all(|node| {
            let is_message = |event: &Event| matches!(event, Event::Message(..));
            node.handler().count(is_message) > 0 || !failures(node).is_empty()
        })
    });
    [a, b]
}

#[test]
fn roles_by_direction_make_two_initiators() {
    for node in punch(Rule::Direction) {
        let [error] = failures(&node)[..] else {
            panic!("{:?}", node.handler().events);
        };
        let is_expected = matches!(
            error,
            ConnectError::Session(SessionError::Malformed(_)) | ConnectError::Io(_)
        );
        assert!(is_expected, "{error}");
    }
}

#[test]
fn roles_by_comparing_agree() {
    for rule in [Rule::Addresses, Rule::Keys] {
        for node in punch(rule) {
            let conn = node.handler().connected()[0];
            assert_eq!(
                node.handler().messages(conn),
                [b"through the hole"],
                "{rule:?}"
            );
            assert!(failures(&node).is_empty());
        }
    }
}
