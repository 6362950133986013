//! A random workload of datagrams: small rings and budgets, sockets that come and
//! go, and a check that what arrives was sent.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use peerloop::config::TurnBudget;
use peerloop::sim::{Faults, NodeId, Random, World};
use peerloop::{ConnId, Handler, Net, SendToError, TimerId, UdpId, UdpOptions};

use super::strict;

const NODES: u16 = 3;

const MS: Duration = Duration::from_millis(1);

/// A datagram that was queued, and how often it has arrived.
struct Sent {
    from: SocketAddr,
    to: SocketAddr,
    body: Vec<u8>,
    arrived: u32,
}

/// All datagrams of a world, by their number.
type Record = Rc<RefCell<Vec<Sent>>>;

/// Sends bursts at random times from its sockets to random sockets.
pub struct Gossiper {
    random: Random,
    record: Record,
    index: u16,
    /// The sockets, and whether a drain is owed to each.
    sockets: BTreeMap<UdpId, bool>,
    is_quiet: bool,
    received: u32,
}

impl Gossiper {
    fn bind(&mut self, net: &mut Net) {
        let options = UdpOptions {
            send_ring_bytes: 1024 + self.random.below(1024) as usize,
            reuse_port: self.random.chance(0.3),
            max_datagram_len: if self.random.chance(0.2) { 100 } else { 1000 },
            ..Default::default()
        };
        let port = 7000 + self.random.below(2);
        // A fault may refuse it, or the port may be taken.
        if let Ok(udp) = net.bind_udp(format!("0.0.0.0:{port}"), options) {
            self.sockets.insert(udp, false);
        }
    }

    fn burst(&mut self, net: &mut Net, udp: UdpId) {
        let port = net.udp_addr(udp).expect("it is open").port();
        let from = SocketAddr::from(([10, 0, 0, 1 + self.index as u8], port));
        for _ in 0..self.random.below(20) {
            let to = 1 + self.random.below(NODES.into()) as u8;
            let port = 7000 + self.random.below(3) as u16;
            let to = SocketAddr::from(([10, 0, 0, to], port));
            let number = self.record.borrow().len() as u32;
            let mut body = number.to_be_bytes().to_vec();
            let len = body.len() + self.random.below(300) as usize;
            body.resize(len, number as u8);
            match net.send_to(udp, &body, to) {
                Ok(()) => self.record.borrow_mut().push(Sent {
                    from,
                    to,
                    body,
                    arrived: 0,
                }),
                Err(SendToError::Full) => {
                    self.sockets.insert(udp, true);
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn any_socket(&mut self) -> Option<UdpId> {
        let index = self.random.below(self.sockets.len() as u64) as usize;
        self.sockets.keys().nth(index).copied()
    }
}

impl Handler for Gossiper {
    fn on_start(&mut self, net: &mut Net) {
        self.bind(net);
        net.set_interval(5 * MS, 0);
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        if self.is_quiet {
            return;
        }
        if self.sockets.is_empty() || self.random.chance(0.05) {
            self.bind(net);
        }
        let Some(udp) = self.any_socket() else {
            return;
        };
        self.burst(net, udp);
        if self.random.chance(0.03) {
            net.close_udp(udp);
            self.sockets.remove(&udp);
            assert_eq!(
                net.send_to(udp, b"", SocketAddr::from(([10, 0, 0, 1], 7000))),
                Err(SendToError::Closed)
            );
        }
    }

    fn on_datagram(&mut self, net: &mut Net, udp: UdpId, from: SocketAddr, datagram: &[u8]) {
        assert!(self.sockets.contains_key(&udp), "{udp:?} is closed");
        self.received += 1;
        let number = datagram.first_chunk().expect("every one has a number");
        let number = u32::from_be_bytes(*number) as usize;
        let mut record = self.record.borrow_mut();
        let sent = &mut record[number];
        assert_eq!((sent.from, &*sent.body), (from, datagram));
        let port = net.udp_addr(udp).expect("it is open").port();
        let own = SocketAddr::from(([10, 0, 0, 1 + self.index as u8], port));
        assert_eq!(sent.to, own);
        sent.arrived += 1;
        assert!(sent.arrived <= 2, "{number} has arrived three times");
        drop(record);
        if !self.is_quiet && self.random.chance(0.1) {
            self.burst(net, udp);
        }
    }

    fn on_udp_drain(&mut self, net: &mut Net, udp: UdpId) {
        let owed = self.sockets.insert(udp, false);
        assert_eq!(owed, Some(true), "{udp:?} has no drain to come");
        if !self.is_quiet && self.random.chance(0.5) {
            self.burst(net, udp);
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Runs the workload. Returns the world, whose trace shows the run.
pub fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    let mut random = Random::new(seed);
    let record = Record::default();
    let nodes: Vec<NodeId<Gossiper>> = (0..NODES)
        .map(|index| {
            let mut config = strict();
            config.budget = TurnBudget {
                datagrams: 1 + random.below(5) as usize,
                read_bytes: 1 + random.below(2000) as usize,
                write_bytes: 1 + random.below(2000) as usize,
                ..Default::default()
            };
            let gossiper = Gossiper {
                random: Random::new(seed ^ u64::from(index)),
                record: Rc::clone(&record),
                index,
                sockets: BTreeMap::new(),
                is_quiet: false,
                received: 0,
            };
            world.node(config, gossiper)
        })
        .collect();
    for _ in 0..10 {
        world.run_for(50 * MS);
        let (a, b) = (random.below(3) as usize, random.below(3) as usize);
        if random.chance(0.2) {
            world.partition(nodes[a], nodes[b]);
        } else {
            world.heal_all();
        }
    }
    world.faults(Faults::calm());
    world.heal_all();
    for node in &nodes {
        world.with(*node, |it, _| it.is_quiet = true);
    }
    world.run_for(300 * MS);
    for node in &nodes {
        world.with(*node, |it, _| {
            let owed: Vec<_> = it.sockets.iter().filter(|(_, owed)| **owed).collect();
            assert!(owed.is_empty(), "a drain is owed to {owed:?}");
        });
    }
    world
}
