//! Noise peers that send the largest payload that is allowed, and are idle: the heap
//! that each of them costs.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use memory_bounds::{Alone, KIB, PATIENCE, as_many_as, heap};
use peerloop::config::Limits;
use peerloop::noise::{Noise, Pattern, StaticKey};
use peerloop::session::{Output, Role, Session, Stage};
use peerloop::{Config, ConnId, ConnInfo, Handler, Net, Node, Transport};

/// The default of `Noise::max_payload`.
const MAX_PAYLOAD: usize = KIB;

struct Server {
    key: StaticKey,
    max_payload: Option<usize>,
    connected: usize,
}

impl Handler for Server {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        let mut noise = Noise::new(Pattern::XX, info.direction).local_key(&self.key);
        if let Some(max) = self.max_payload {
            noise = noise.max_payload(max);
        }
        Ok(noise.build()?.into())
    }

    fn on_connect(&mut self, _: &mut Net, _: ConnId) {
        self.connected += 1;
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Makes the handshake of a client with this payload. `None` if it is refused.
fn shake(addr: SocketAddr, payload: &[u8]) -> Option<TcpStream> {
    let key = StaticKey::from_secret([3; 32]);
    let mut noise = Noise::new(Pattern::XX, Role::Initiator)
        .local_key(&key)
        .payload(payload)
        .build()
        .expect("settings that work");
    let mut stream = TcpStream::connect(addr).expect("a listener");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let (mut wire, mut plaintext, mut arrived) = (vec![], vec![], vec![]);
    noise.start(&mut wire).expect("a first message");
    stream.write_all(&wire).expect("the node reads");
    while noise.stage() == Stage::Handshaking {
        let mut bytes = [0; 512];
        let count = stream.read(&mut bytes).expect("an answer");
        arrived.extend_from_slice(&bytes[..count]);
        wire.clear();
        let mut output = Output::new(&mut plaintext, &mut wire);
        let taken = noise.receive(&mut arrived, &mut output).expect("a message");
        arrived.drain(..taken);
        stream.write_all(&wire).expect("the node reads");
    }
    // A node that refuses the last message ends the connection.
    stream.set_nonblocking(true).expect("a socket");
    Some(stream)
}

fn listening(peers: usize, max_payload: Option<usize>) -> (Node<Server>, SocketAddr) {
    let config = Config {
        limits: Limits {
            max_connections_per_address: peers,
            ..Limits::default()
        },
        ..Config::default()
    };
    let server = Server {
        key: StaticKey::from_secret([7; 32]),
        max_payload,
        connected: 0,
    };
    let mut node = Node::new(config, server).expect("a node");
    let listening = node.net().listen("127.0.0.1:0").expect("a listener");
    (node, listening.addr)
}

fn run_until(node: &mut Node<Server>, mut condition: impl FnMut(&mut Node<Server>) -> bool) {
    let bound = Instant::now() + PATIENCE;
    while !condition(node) {
        assert!(Instant::now() < bound, "{:#?}", node.net().metrics());
        let _ = node.turn(Some(Duration::from_millis(5))).expect("a turn");
    }
}

/// The bytes of the heap for each of many idle peers that sent such a payload.
fn bytes_per_idle_peer(peers: usize, payload: usize, max_payload: Option<usize>) -> usize {
    let _alone = Alone::begin();
    // Both ends of each are in this process.
    let peers = as_many_as(2 * peers) / 2;
    let (mut node, addr) = listening(peers, max_payload);
    let before = heap();
    let clients = std::thread::spawn(move || {
        let payload = vec![1; payload];
        let streams = (0..peers).filter_map(|_| shake(addr, &payload));
        streams.collect::<Vec<_>>()
    });
    run_until(&mut node, |node| node.handler().connected == peers);
    let streams = clients.join().expect("the clients are in");
    let clients = streams.capacity() * size_of::<TcpStream>();
    for _ in 0..10 {
        let _ = node.turn(Some(Duration::ZERO)).expect("a turn");
    }
    let each = (heap() - before - clients) / peers;
    println!("{peers} peers with a payload of {payload} bytes: {each} bytes each");
    assert_eq!(node.net().connection_count(), peers);
    each
}

#[test]
fn idle_peer_takes_its_payload_once() {
    let without = bytes_per_idle_peer(100, 0, None);
    assert!(without < 2 * KIB + 512, "{without} bytes");
    let largest = bytes_per_idle_peer(1000, MAX_PAYLOAD, None);
    assert!(largest <= without + MAX_PAYLOAD + 64, "{largest} bytes");
    let raised = bytes_per_idle_peer(100, 12 * KIB, Some(12 * KIB));
    assert!(raised <= without + 12 * KIB + 64, "{raised} bytes");
}

#[test]
fn payload_above_the_maximum_is_refused() {
    const PEERS: u64 = 20;
    let _alone = Alone::begin();
    let (mut node, addr) = listening(PEERS as usize, None);
    let clients = std::thread::spawn(move || {
        let payload = vec![1; MAX_PAYLOAD + 1];
        (0..PEERS).for_each(|_| drop(shake(addr, &payload)));
    });
    run_until(&mut node, |node| {
        node.net().metrics().handshakes_failed == PEERS
    });
    clients.join().expect("the clients have tried");
    assert_eq!(node.handler().connected, 0);
}
