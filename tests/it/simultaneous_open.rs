//! A TCP simultaneous open (RFC 9293, section 3.5): two nodes that connect to each other, for which both ends are
//! outbound, and the roles in the Noise handshake over it.
#![cfg(all(feature = "noise", target_os = "linux"))]

use std::error::Error;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use peerloop::error::SessionError;
use peerloop::noise::{Noise, Pattern, StaticKey};
use peerloop::session::Role;
use peerloop::{Config, ConnId, ConnInfo, ConnectError, Direction, Handler, Net, Node, Transport};
use socket2::{Domain, SockFilter, Socket, Type};

const PATIENCE: Duration = Duration::from_secs(30);

/// How a node finds its role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Direction,
    Addresses,
    Keys,
}

struct Puncher {
    rule: Rule,
    key: StaticKey,
    /// From the rendezvous server.
    key_of_peer: [u8; 32],
    infos: Vec<ConnInfo>,
    messages: Vec<Vec<u8>>,
    failed: Vec<ConnectError>,
}

impl Handler for Puncher {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        self.infos.push(*info);
        let role = match self.rule {
            Rule::Direction => Some(Role::from(info.direction)),
            Rule::Addresses => info
                .local_addr
                .and_then(|local_addr| Role::by_comparing(&local_addr, &info.addr)),
            Rule::Keys => Role::by_comparing(self.key.public(), &self.key_of_peer),
        };
        let noise = Noise::new(Pattern::XX, role.ok_or("a connection with this node")?)
            .local_key(&self.key)
            .remote_key(&self.key_of_peer)
            .build()?;
        Ok(noise.into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        net.send(conn, b"through the hole").expect("an empty queue");
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
        self.messages.push(message.to_vec());
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.failed.push(error);
    }
}

/// A socket that may share its address with another one of this process.
fn bound(addr: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&addr.into()).unwrap();
    socket
}

fn local_addr(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

fn connect(node: &mut Node<Puncher>, socket: Socket, addr: SocketAddr) {
    let mut options = node.connect_options();
    options.bound_socket = Some(TcpStream::from(socket));
    node.net().connect_with(addr, options).unwrap();
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
}

/// Opens a connection between two nodes simultaneously, and runs them until both are connected or have failed.
///
/// The first SYN must be lost, as it is in a NAT. On the loopback a listener that drops all of its packets sees to it:
/// without one the first end would be refused at once.
fn punch(rule: Rule) -> [Node<Puncher>; 2] {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let sockets = [bound(any), bound(any)];
    let addrs = [local_addr(&sockets[0]), local_addr(&sockets[1])];
    let hole = bound(addrs[1]);
    // A classic BPF program (bpf(4)) that is one instruction, BPF_RET | BPF_K: keep 0 bytes of the packet.
    hole.attach_filter(&[SockFilter::new(6, 0, 0, 0)]).unwrap();
    hole.listen(1).unwrap();

    let keys = [3, 5].map(|byte| StaticKey::from_secret([byte; 32]));
    let mut nodes = [0, 1].map(|this| {
        let puncher = Puncher {
            rule,
            key: keys[this].clone(),
            key_of_peer: *keys[1 - this].public(),
            infos: vec![],
            messages: vec![],
            failed: vec![],
        };
        Node::new(Config::default(), puncher).unwrap()
    });
    let [first, second] = sockets;
    connect(&mut nodes[0], first, addrs[1]);
    drop(hole);
    connect(&mut nodes[1], second, addrs[0]);

    let bound = Instant::now() + PATIENCE;
    let is_over = |node: &Node<Puncher>| {
        let handler = node.handler();
        !handler.messages.is_empty() || !handler.failed.is_empty()
    };
    while !nodes.iter().all(is_over) {
        assert!(Instant::now() < bound, "neither connected nor failed");
        for node in &mut nodes {
            let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
        }
    }
    for (node, addr) in nodes.iter().zip([addrs[1], addrs[0]]) {
        let [info] = node.handler().infos[..] else {
            panic!("one connection: {:?}", node.handler().infos);
        };
        assert_eq!((info.direction, info.addr), (Direction::Outbound, addr));
    }
    nodes
}

#[test]
fn roles_by_direction_make_two_initiators() {
    for node in punch(Rule::Direction) {
        assert!(
            matches!(
                node.handler().failed[..],
                [ConnectError::Session(SessionError::Malformed(_)) | ConnectError::Io(_)]
            ),
            "{:?}",
            node.handler().failed
        );
    }
}

#[test]
fn roles_by_comparing_agree() {
    for rule in [Rule::Addresses, Rule::Keys] {
        for node in punch(rule) {
            assert_eq!(node.handler().messages, [b"through the hole"], "{rule:?}");
            assert!(node.handler().failed.is_empty());
        }
    }
}
