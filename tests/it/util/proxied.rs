//! Clients behind proxies, with good, cut, malformed and slow headers, in a
//! world with random faults. The server compares the address of each client
//! with the number that the client sends.

#![allow(unreachable_pub, reason = "a module of several tests")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use peerloop::config::{Limits, OnPanic, TrustedProxies, TurnBudget};
use peerloop::sim::{Faults, Random, Wire, World};
use peerloop::{Admission, Config, ConnId, ConnInfo, Handler, Net};

use super::frame;
use super::proxy_header::{binary, line, local};

const PORT: u16 = 7000;

/// The hosts of scripted peers.
const PROXIES: &str = "10.128.0.0/9";

/// Number of addresses of clients. The last one is banned.
const ADDRESSES: u8 = 5;

/// Number of messages of a client.
const MESSAGES: u8 = 3;

/// The address of a client, by its number.
fn source(number: u16) -> SocketAddr {
    let host = (number % u16::from(ADDRESSES)) as u8;
    SocketAddr::from(([203, 0, 113, host], 1000 + number))
}

fn service() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 443))
}

#[derive(Default)]
struct Server {
    /// The messages of each connection so far.
    messages: BTreeMap<ConnId, u8>,
    complete: u64,
}

impl Handler for Server {
    fn on_start(&mut self, net: &mut Net) {
        let mut options = net.listen_options();
        let proxies = PROXIES.parse().expect("a network");
        options.proxy_protocol = Some(TrustedProxies::new([proxies]));
        net.listen_with(("0.0.0.0", PORT), options)
            .expect("the port is free");
    }

    fn on_accept(&mut self, _: &mut Net, info: &ConnInfo) -> Admission {
        if info.addr.ip() == source(u16::from(ADDRESSES) - 1).ip() {
            return Admission::Refuse;
        }
        Admission::Admit
    }

    /// A message is the number of its client, whether the connection is one of
    /// the proxy itself, and the number of the message.
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let &[high, low, is_own, index] = message else {
            panic!("the bytes of a message: {message:?}");
        };
        let info = net.connection(conn).expect("it is open").info();
        let addr = source(u16::from_be_bytes([high, low]));
        if is_own == 1 {
            let proxies: peerloop::config::Network = PROXIES.parse().expect("a network");
            assert!(proxies.contains(info.addr.ip()), "{}", info.addr);
        } else {
            assert_eq!((info.addr, info.local_addr), (addr, Some(service())));
        }
        let count = self.messages.entry(conn).or_default();
        assert_eq!(index, *count, "the messages are in order");
        *count += 1;
        self.complete += u64::from(*count == MESSAGES);
    }
}

struct Client {
    wire: Wire,
    outbox: VecDeque<u8>,
    /// Bytes that it sends at once.
    at_once: usize,
    /// It closes its sending side when all is sent.
    is_cut: bool,
}

/// The fate of a header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Complete,
    Cut,
    Malformed,
    Stalls,
}

impl Client {
    fn new(wire: Wire, number: u16, fate: Fate, random: &mut Random) -> Self {
        let addr = source(number);
        let is_own = random.chance(0.2);
        let mut header = match random.below(3) {
            _ if is_own && random.chance(0.5) => local(),
            _ if is_own => b"PROXY UNKNOWN\r\n".to_vec(),
            0 => line(addr, service()),
            1 => binary(addr, service(), 0),
            _ => binary(addr, service(), random.between(3, 6000) as usize),
        };
        match fate {
            Fate::Complete => {
                let [high, low] = number.to_be_bytes();
                let message = |index| frame(&[high, low, u8::from(is_own), index]);
                header.extend((0..MESSAGES).flat_map(message));
            }
            Fate::Cut | Fate::Stalls => {
                header.truncate(random.below(header.len() as u64) as usize);
            }
            Fate::Malformed => header[random.below(6) as usize] ^= 0x40,
        }
        let len = header.len();
        Self {
            wire,
            outbox: header.into(),
            at_once: match random.below(3) {
                // All of it within 2 s.
                0 => 1 + len / 40,
                1 => len / 40 + random.between(1, 30) as usize,
                _ => usize::MAX,
            },
            is_cut: fate == Fate::Cut,
        }
    }

    fn act(&mut self, world: &mut World) {
        let piece: Vec<u8> = self.outbox.iter().take(self.at_once).copied().collect();
        if piece.is_empty() {
            if std::mem::take(&mut self.is_cut) {
                // The node may have closed it.
                let _ = world.shutdown_wire(self.wire);
            }
            return;
        }
        // It fails before the connection is established, and when it is closed.
        if let Ok(count) = world.write_wire(self.wire, &piece) {
            self.outbox.drain(..count);
        }
    }
}

fn config(random: &mut Random) -> Config {
    let mut pick = |low, high| random.between(low, high) as usize;
    Config {
        limits: Limits {
            max_connections: pick(4, 40),
            max_connections_per_address: pick(2, 10),
            max_inbound_handshakes: pick(1, 8),
            ..Default::default()
        },
        budget: TurnBudget {
            accepts: pick(1, 4),
            ..Default::default()
        },
        on_panic: OnPanic::Unwind,
        ..Config::default()
    }
}

/// One world from this seed.
pub fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(seed);
    let is_calm = random.chance(0.5);
    world.faults(if is_calm {
        Faults::calm()
    } else {
        Faults::hostile()
    });
    let server = world.node(config(&mut random), Server::default());
    world.run_for(Duration::from_millis(100));
    let addr = SocketAddr::new(world.ip(server), PORT);
    let mut clients: Vec<Client> = Vec::new();
    let count = random.between(5, 40) as u16;
    let (mut good, mut bad) = (0, 0);
    for number in 0..count {
        let wire = match clients.last() {
            Some(last) if random.chance(0.7) => world.wire_beside(last.wire, addr),
            _ => world.wire(addr),
        };
        let fate = match random.below(8) {
            0 => Fate::Cut,
            1 => Fate::Malformed,
            2 => Fate::Stalls,
            _ => Fate::Complete,
        };
        *(if fate == Fate::Complete {
            &mut good
        } else {
            &mut bad
        }) += 1;
        let wire = wire.expect("an IPv4 address");
        clients.push(Client::new(wire, number, fate, &mut random));
        // Often several connect at once.
        let steps = if random.chance(0.5) {
            0
        } else {
            random.below(30)
        };
        for _ in 0..steps {
            clients.iter_mut().for_each(|client| client.act(&mut world));
            world.run_for(Duration::from_millis(random.between(1, 50)));
        }
    }
    if random.chance(0.2) {
        // Closes what is pending.
        world.with(server, |_, net| net.shutdown(Duration::from_secs(1)));
        return world.run_for(Duration::from_secs(10));
    }
    for _ in 0..200 {
        clients.iter_mut().for_each(|client| client.act(&mut world));
        world.run_for(Duration::from_millis(50));
    }
    world.faults(Faults::calm());
    world.run_for(Duration::from_secs(10));
    let metrics = world.net(server).metrics();
    assert_eq!(metrics.refused_untrusted, 0);
    if is_calm {
        let refused = metrics.refused_by_handler
            + metrics.refused_by_total
            + metrics.refused_by_address
            + metrics.refused_by_handshakes
            + metrics.handshakes_evicted;
        let ended = metrics.accepted + refused + metrics.proxy_header_errors;
        assert_eq!(ended, u64::from(count), "{metrics:?}");
        assert!(metrics.proxy_header_errors <= bad);
        assert!(metrics.accepted <= good);
        // Clients are slow, but none is so slow that its header times out.
        let complete = world.with(server, |server, _| server.complete);
        assert_eq!(complete, metrics.accepted);
    }
}
