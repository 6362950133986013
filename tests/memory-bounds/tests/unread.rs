//! A thousand connections that do not read are sent as much as they may be, with and
//! without sessions. The memory keeps to the limit of the loop, and an honest peer
//! gets every message.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use memory_bounds::{Alone, Attackers, KIB, MIB, PATIENCE, connect_from};
use peerloop::noise::{Noise, Pattern};
use peerloop::session::Role;
use peerloop::{Bytes, Config, ConnId, ConnInfo, Handler, Net, Node, SendError, Transport, Turn};
use socket2::SockRef;

const PROGRAM: &str = env!("CARGO_BIN_EXE_attackers");

const COUNT: usize = 1000;

/// The messages of the honest peer.
const LEN: usize = 64 * KIB;

type Refusal = Box<dyn Error + Send + Sync>;

fn transport(is_sealed: bool, role: Role) -> Result<Transport, Refusal> {
    if is_sealed {
        Ok(Noise::new(Pattern::NN, role).build()?.into())
    } else {
        Ok(Transport::Plain)
    }
}

/// Keeps its connections; the honest one comes first.
struct Sender {
    is_sealed: bool,
    conns: Vec<ConnId>,
    drains: usize,
}

impl Handler for Sender {
    fn transport(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo) -> Result<Transport, Refusal> {
        transport(self.is_sealed, Role::Responder)
    }

    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.conns.push(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_drain(&mut self, _: &mut Net, _: ConnId) {
        self.drains += 1;
    }
}

/// Reads all the time.
struct Honest {
    is_connected: bool,
    messages: usize,
}

impl Handler for Honest {
    fn transport(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo) -> Result<Transport, Refusal> {
        transport(true, Role::Initiator)
    }

    fn on_connect(&mut self, _: &mut Net, _: ConnId) {
        self.is_connected = true;
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
        assert_eq!(message.len(), LEN);
        self.messages += 1;
    }

    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, _: peerloop::DisconnectReason) {
        net.shutdown(Duration::ZERO);
    }
}

/// Returns how many messages the honest peer got until it was disconnected.
fn honest(addr: SocketAddr, is_sealed: bool) -> JoinHandle<usize> {
    spawn(move || {
        if is_sealed {
            let handler = Honest {
                is_connected: false,
                messages: 0,
            };
            let mut node = Node::new(Config::default(), handler).expect("a node");
            node.net().connect(addr).expect("an address");
            node.run().expect("it runs");
            return node.handler().messages;
        }
        let mut peer: TcpStream = connect_from([127, 0, 0, 2].into(), addr);
        let mut frame = vec![0; 4 + LEN];
        let mut messages = 0;
        while peer.read_exact(&mut frame).is_ok() {
            assert_eq!(frame[..4], (LEN as u32).to_be_bytes());
            messages += 1;
        }
        messages
    })
}

fn queued(net: &Net, conn: ConnId) -> usize {
    net.connection(conn).map_or(0, |it| it.queued_bytes())
}

fn until(node: &mut Node<Sender>, mut condition: impl FnMut(&mut Sender, &mut Net) -> bool) {
    // It may look at another process, which wakes no node.
    let end = Instant::now() + PATIENCE;
    while !node.with(&mut condition) {
        assert!(Instant::now() < end, "it takes too long");
        let turn = node.turn(Some(Duration::from_millis(10)));
        assert_ne!(turn.expect("a turn"), Turn::Stopped);
    }
}

/// Sends messages of a length until one is refused.
fn fill(net: &mut Net, conn: ConnId, len: usize, is_shared: bool) {
    let body = vec![7; len];
    let mut send = || {
        if is_shared {
            net.send(conn, Bytes::from(body.clone()))
        } else {
            net.send(conn, &body)
        }
    };
    while send()
        .map_err(|error| assert_eq!(error, SendError::Full))
        .is_ok()
    {}
}

/// The honest peer gets a message.
fn exchange(node: &mut Node<Sender>, sent: &mut usize) {
    let honest = node.handler().conns[0];
    let result = node.net().send(honest, &[9; LEN]);
    assert_eq!(result, Ok(()), "after {sent} messages");
    *sent += 1;
    until(node, |_, net| queued(net, honest) == 0);
}

/// A node with the honest peer and some that do not read.
struct Crowd {
    node: Node<Sender>,
    honest: JoinHandle<usize>,
    _attackers: Attackers,
}

impl Crowd {
    fn begin(limit: usize, count: usize, is_sealed: bool) -> Self {
        let mut config = Config::default();
        config.limits.max_connections_per_address = count + 1;
        config.limits.max_inbound_handshakes = count + 1;
        config.limits.loop_send_bytes = limit;
        config.connection.timeouts.write_stall = None;
        config.sockets.send_buffer_bytes = Some(32 * KIB);
        let handler = Sender {
            is_sealed,
            conns: Vec::new(),
            drains: 0,
        };
        let mut node = Node::new(config, handler).expect("a node");
        let addr = node.net().listen("127.0.0.1:0").expect("a listener").addr;
        let honest = honest(addr, is_sealed);
        until(&mut node, |it, _| it.conns.len() == 1);
        // Its messages need not wait for acknowledgements, which the system delays.
        let first = node.handler().conns[0];
        let socket = node.net().socket(first).expect("it is connected");
        let size = SockRef::from(&socket).set_send_buffer_size(MIB);
        size.expect("a socket");
        let kind = ["unread", "unread-sealed"][usize::from(is_sealed)];
        let attackers = Attackers::begin(PROGRAM, addr, count, kind);
        until(&mut node, |it, _| {
            attackers.are_ready() && it.conns.len() == count + 1
        });
        Self {
            node,
            honest,
            _attackers: attackers,
        }
    }

    /// Ends it. The honest peer has got so many messages.
    fn end(mut self, sent: usize) {
        let count = self.node.handler().conns.len();
        let left = self.node.net().connection_count();
        assert_eq!(left, count, "none was ended");
        self.node.net().shutdown(Duration::ZERO);
        self.node.run().expect("it runs");
        assert_eq!(self.node.net().metrics().queued_bytes, 0);
        drop(self.node);
        assert_eq!(self.honest.join().expect("it read"), sent);
    }
}

fn a_thousand_that_do_not_read_keep_to_the_limit(is_sealed: bool) {
    let alone = Alone::begin();
    let limit = Config::default().limits.loop_send_bytes;
    let max_message_len = Config::default().connection.max_message_len;
    let mut crowd = Crowd::begin(limit, COUNT, is_sealed);
    let node = &mut crowd.node;
    let mut sent = 0;
    for round in 0..4 {
        for index in 1..=COUNT {
            let conn = node.handler().conns[index];
            for len in [max_message_len, 100 * KIB, 1000] {
                fill(node.net(), conn, len, (index + round) % 2 == 0);
            }
            if index % 20 == 0 {
                exchange(node, &mut sent);
            }
        }
    }
    let metrics = node.net().metrics();
    println!(
        "{} MiB charged, {} refused, {} drains",
        metrics.max_queued_bytes / MIB,
        metrics.sends_refused,
        node.handler().drains
    );
    assert!(metrics.max_queued_bytes <= limit);
    alone.assert_below(limit + limit / 5);
    crowd.end(sent);
}

#[test]
fn thousand_plain_connections_keep_to_the_limit() {
    a_thousand_that_do_not_read_keep_to_the_limit(false);
}

#[test]
fn thousand_sealed_connections_keep_to_limit() {
    a_thousand_that_do_not_read_keep_to_the_limit(true);
}

/// The queues take all there is before anything is sealed.
#[test]
fn session_output_is_charged_before_it_exists() {
    let alone = Alone::begin();
    let (limit, count) = (16 * MIB, 200);
    let mut crowd = Crowd::begin(limit, count, true);
    let node = &mut crowd.node;
    let conns = node.handler().conns[1..].to_vec();
    let body = vec![7; 30 * KIB];
    for _ in 0..20 {
        // Evenly, so that all of them have something to seal.
        let one_each = |net: &mut Net| {
            let sent = conns.iter().filter(|conn| net.send(**conn, &body).is_ok());
            sent.count()
        };
        while one_each(node.net()) > 0 {}
        let _ = node.turn(Some(Duration::ZERO)).expect("a turn");
    }
    let metrics = node.net().metrics();
    println!("{} KiB charged", metrics.max_queued_bytes / KIB);
    assert!(metrics.max_queued_bytes > limit / 2);
    assert!(metrics.max_queued_bytes <= limit);
    // The slots of 400 connections and a node of peers are beside it.
    alone.assert_below(limit + limit / 5 + 2 * MIB);
    crowd.end(0);
}
