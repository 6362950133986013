//! The nodes of the example `kademlia_dht`, and peers that break its rules.

#[path = "../../../examples/kademlia_dht/dht.rs"]
mod dht;
#[path = "../../../examples/kademlia_dht/routing.rs"]
mod routing;
#[path = "../../../examples/kademlia_dht/wire.rs"]
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use peerloop::sim::{Faults, NodeId, World};
use peerloop::{Config, ConnId, Handler, Net, UdpId, UdpOptions};

use dht::Dht;
use routing::{K, Lookup};
use wire::{DATAGRAM_LEN, Id, Message, VALUE_MAX};

const PORT: u16 = 7000;
const KEY: Id = 1;

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Answers each request in the same way, and keeps the requests.
struct Peer {
    answer: Message,
    requests: Vec<Message>,
}

impl Handler for Peer {
    fn on_start(&mut self, net: &mut Net) {
        let bound = net.bind_udp((Ipv4Addr::UNSPECIFIED, PORT), UdpOptions::default());
        bound.expect("a free port");
    }

    fn on_datagram(&mut self, net: &mut Net, udp: UdpId, from: SocketAddr, datagram: &[u8]) {
        let (token, _, message) = wire::decode(datagram).expect("a message");
        let answer = wire::encode(token, KEY, &self.answer);
        net.send_to(udp, &answer, from).expect("room");
        self.requests.push(message);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// A node that knows a peer.
fn world(answer: Message) -> (World, NodeId<Dht>, NodeId<Peer>) {
    let mut world = World::new(1);
    let requests = Vec::new();
    let peer = world.node(Config::default(), Peer { answer, requests });
    let contact = (KEY, SocketAddr::new(world.ip(peer), PORT));
    let mut random = world.random();
    let random = Box::new(move || random.next_u64());
    let node = world.node(Config::default(), Dht::new(vec![contact], random));
    let addr = SocketAddr::new(world.ip(node), PORT);
    let bound = world.with(node, |dht, net| dht.bind(net, addr));
    assert_eq!(bound.expect("a free port").1, addr);
    (world, node, peer)
}

/// Runs a lookup to its end.
fn run(world: &mut World, node: NodeId<Dht>, number: u64) -> Lookup {
    world.run_for(Duration::from_secs(10));
    let lookup = world.with(node, |dht, _| dht.finished.remove(&number));
    lookup.expect("the end of the lookup")
}

#[test]
fn kademlia_peer_that_answers_stores_a_value() {
    let (mut world, node, peer) = world(Message::Nodes(Vec::new()));
    let number = world.with(node, |dht, net| dht.store(net, KEY, "good"));
    world.run_for(Duration::from_millis(300));
    let requests = &world.handler(peer).requests;
    let stored = requests.iter().find_map(|it| match it {
        Message::Store(key, value) => Some((*key, value.as_str())),
        _ => None,
    });
    assert_eq!(stored, Some((KEY, "good")));
    // It does not confirm that.
    let lookup = run(&mut world, node, number);
    assert_eq!((lookup.copies(), lookup.hops, lookup.requests), (0, 1, 2));
}

/// The value that it returns would be stored at other nodes.
#[test]
fn kademlia_value_instead_of_nodes_is_ignored() {
    let (mut world, node, peer) = world(Message::Value("bad".into()));
    let number = world.with(node, |dht, net| dht.store(net, KEY, "good"));
    let lookup = run(&mut world, node, number);
    assert_eq!(lookup.value.as_deref(), Some("good"));
    let requests = &world.handler(peer).requests;
    let is_store = |it: &Message| matches!(it, Message::Store(..));
    assert!(!requests.is_empty() && !requests.iter().any(is_store));
    let number = world.with(node, |dht, net| dht.find(net, KEY));
    assert_eq!(run(&mut world, node, number).value.as_deref(), Some("bad"));
}

/// Each of two candidates with the same contact would wait for its own answer.
#[test]
fn kademlia_repeated_contact_ends_the_lookup() {
    let (first, second) = ((1, addr("10.0.0.1:1")), (2, addr("10.0.0.2:1")));
    let other = (2, addr("10.0.0.3:1"));
    let mut lookup = Lookup::new(Message::FindValue(KEY), KEY, None);
    lookup.add(vec![first]);
    assert_eq!(lookup.next(), Some(first));
    let nodes = Message::Nodes(vec![second, second, other, first]);
    lookup.note(first, Some(nodes));
    assert_eq!(lookup.next(), Some(second));
    assert_eq!(lookup.next(), None);
    lookup.note(second, None);
    assert_eq!(lookup.next(), None);
    assert!(lookup.is_over());
}

/// A value is stored although each answer has closer contacts.
#[test]
fn kademlia_endless_contacts_end_the_lookup() {
    let contact = |id: Id| (id, addr("10.0.0.1:1"));
    let mut lookup = Lookup::new(Message::FindNode(0), 0, Some("good".into()));
    lookup.add(vec![contact(Id::MAX)]);
    let mut closest = Id::MAX;
    while let Some(asked) = lookup.next() {
        let answer = match lookup.request {
            Message::Store(..) => Message::Stored,
            _ => Message::Nodes((1..=8).map(|closer| contact(closest - closer)).collect()),
        };
        closest -= 8;
        lookup.note(asked, Some(answer));
    }
    assert!(lookup.is_over());
    assert!(matches!(lookup.request, Message::Store(..)));
    let copies = lookup.copies();
    assert!((1..=K).contains(&copies), "{copies}");
    assert_eq!(lookup.requests as usize, 64 + copies);
}

/// An answer that is longer than its request would amplify an attack on a forged
/// address.
#[test]
fn kademlia_answers_are_no_longer_than_requests() {
    let longest = addr("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
    let value = "\0".repeat(VALUE_MAX);
    for answer in [
        Message::Nodes(vec![(Id::MAX, longest); K]),
        Message::Value(value.clone()),
        Message::Stored,
    ] {
        let datagram = wire::encode(u64::MAX, Id::MAX, &answer);
        assert!(datagram.len() <= DATAGRAM_LEN, "{}", datagram.len());
        assert!(wire::decode(&datagram).is_some());
    }
    let store = |value| wire::encode(0, 0, &Message::Store(0, value));
    assert!(wire::decode(&store(value.clone())).is_some());
    // Its answer would have the id and the token of the node as well.
    assert!(wire::decode(&store("a".repeat(VALUE_MAX + 1))).is_none());
    assert!(wire::decode(store(value).trim_ascii_end()).is_none());
    let value = wire::encode(0, 0, &Message::Value("a".repeat(VALUE_MAX + 1)));
    assert!(wire::decode(&value).is_none());
}

/// The nodes that vanish are the oldest, which young tables have most of.
#[test]
fn kademlia_values_survive_the_oldest_nodes() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        world.faults(Faults::calm());
        let (mut nodes, mut contacts) = (Vec::new(), Vec::new());
        for _ in 0..32 {
            let mut random = world.random();
            let random = Box::new(move || random.next_u64());
            let known = contacts.first().copied().into_iter().collect();
            let node = world.node(Config::default(), Dht::new(known, random));
            let addr = SocketAddr::new(world.ip(node), PORT);
            let bound = world.with(node, |dht, net| dht.bind(net, addr));
            contacts.push(bound.expect("a free port"));
            nodes.push(node);
        }
        let lacks_no_contact = |world: &World, node: NodeId<Dht>| {
            let table = &world.handler(node).table;
            contacts.iter().all(|it| !table.wants(it.0))
        };
        let full = world.run_until(Duration::from_secs(20), |world: &mut World| {
            nodes.iter().all(|node| lacks_no_contact(world, *node))
        });
        full.expect("full buckets");
        let look_up = |world: &mut World, node: NodeId<Dht>, key, value: Option<&str>| {
            let number = world.with(node, |dht: &mut Dht, net| match value {
                Some(value) => dht.store(net, key, value),
                None => dht.find(net, key),
            });
            run(world, node, number)
        };
        let keys: Vec<Id> = (1..=8).map(|at| at << 124).collect();
        for key in &keys {
            let lookup = look_up(&mut world, nodes[0], *key, Some("good"));
            assert_eq!(lookup.copies(), K);
        }
        for node in nodes.drain(..K - 1) {
            drop(world.crash(node));
        }
        for (key, node) in keys.iter().zip(nodes.iter().rev()) {
            let lookup = look_up(&mut world, *node, *key, None);
            assert_eq!(lookup.value.as_deref(), Some("good"), "seed {seed}");
        }
    }
}
