//! Headers in simulated worlds.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use super::{addr, listen_at, service, trusting};
use crate::util::proxied;
use crate::util::proxy_header::{binary, line};
use crate::util::sessions::{Greeting, Manner};
use crate::util::settings::SEEDS;
use crate::util::{config_with, frame};
use peerloop::config::Limits;
use peerloop::framing::Framing;
use peerloop::sim::{Faults, NodeId, Wire, World, for_each_seed};
use peerloop::{Config, ConnId, ConnInfo, ConnectError, Handler, Net, Transport};

const MS: Duration = Duration::from_millis(1);

/// Listens behind proxies, with or without a session.
#[derive(Default)]
struct Server {
    has_sessions: bool,
    evicted: Vec<SocketAddr>,
}

impl Handler for Server {
    fn on_start(&mut self, net: &mut Net) {
        listen_at(net, "0.0.0.0:7000", trusting("10.0.0.0/8"));
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(if self.has_sessions {
            Greeting::new(Manner::Agrees).into()
        } else {
            Transport::Plain
        })
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, info: &ConnInfo, error: ConnectError) {
        if error == ConnectError::Evicted {
            self.evicted.push(info.addr);
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

fn calm_world(places: usize, server: Server) -> (World, NodeId<Server>, SocketAddr) {
    let mut world = World::new(1);
    world.faults(Faults::calm());
    let limits = Limits {
        max_inbound_handshakes: places,
        ..Limits::default()
    };
    let config = Config {
        limits,
        ..Config::default()
    };
    let server = world.node(config, server);
    world.run_for(MS);
    let addr = world.addr(server);
    (world, server, addr)
}

#[test]
fn clients_behind_proxies_have_true_addresses() {
    for_each_seed(SEEDS, proxied::run);
}

#[test]
fn incomplete_header_ends_at_its_deadline() {
    let (mut world, server, addr) = calm_world(256, Server::default());
    let begun = world.now();
    let wire = world.wire(addr).expect("a wire");
    let deadline = Config::default().connection.timeouts.handshake.unwrap();
    let errors = |world: &World| world.net(server).metrics().proxy_header_errors;
    // The acknowledgement of the peer arrives after three latencies of 1 ms.
    // Bytes that arrive do not move the deadline.
    for byte in b"PROXY TCP4" {
        world.run_for(100 * MS);
        world.write_wire(wire, &[*byte]).expect("room");
    }
    let step = Duration::from_micros(10);
    world.run_for(begun + 3 * MS + deadline - step - world.now());
    assert_eq!(errors(&world), 0);
    world.run_for(2 * step);
    assert_eq!(errors(&world), 1);
    world.run_for(10 * MS);
    let has_ended = world.read_wire(wire, &mut Vec::new());
    assert!(has_ended.expect("no reset"), "it is closed");
}

#[test]
fn header_is_evicted_after_a_silent_second() {
    let (mut world, server, addr) = calm_world(2, Server::default());
    let first = world.wire(addr).expect("a wire");
    let mut after = |wire: Option<Wire>, time: u32| {
        if let Some(wire) = wire {
            world.wire_beside(wire, addr).expect("a wire");
        }
        world.run_for(time * MS);
        let metrics = world.net(server).metrics();
        (metrics.refused_by_handshakes, metrics.handshakes_evicted)
    };
    assert_eq!(after(None, 200), (0, 0));
    assert_eq!(after(Some(first), 750), (0, 0));
    assert_eq!(after(Some(first), 100), (1, 0));
    // The first header is silent for more than a second, the second for less.
    assert_eq!(after(Some(first), 10), (1, 1));
    assert_eq!(after(Some(first), 10), (2, 1));
    assert_eq!(world.net(server).metrics().proxy_header_errors, 0);
}

/// A proxy for one client. Its framing has no boundaries.
struct Proxy {
    node: SocketAddr,
}

impl Handler for Proxy {
    fn on_start(&mut self, net: &mut Net) {
        net.connect(self.node).expect("within the limits");
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let header = line(addr("203.0.113.9:1"), service());
        net.send(conn, &header).expect("room");
        net.send(conn, frame(b"hello")).expect("room");
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// The world compares the bytes at both ends.
#[test]
fn simulated_node_can_be_the_proxy() {
    let (mut world, server, at) = calm_world(256, Server::default());
    let config = config_with(|config| config.connection.framing = Framing::Raw);
    world.node(config, Proxy { node: at });
    for _ in 0..10 {
        world.run_for(10 * MS);
    }
    let client = world.net(server).find(addr("203.0.113.9:1"));
    let client = client.expect("it is behind the proxy");
    let connection = world.net(server).connection(client).expect("it is open");
    assert_eq!(connection.traffic().messages_received, 1);
}

/// One client holds all places with slow handshakes. Another client of the same
/// proxy takes one of them.
#[test]
fn slow_client_excludes_no_other_of_its_proxy() {
    let server = Server {
        has_sessions: true,
        ..Server::default()
    };
    let (mut world, server, addr_of_node) = calm_world(4, server);
    let proxy = world.wire(addr_of_node).expect("a wire");
    world.run_for(10 * MS);
    world.close_wire(proxy);
    let (slow, other) = (addr("203.0.113.9:1"), addr("203.0.113.8:1"));
    for source in [slow, slow, slow, slow, other] {
        let wire = world.wire_beside(proxy, addr_of_node).expect("a wire");
        world.run_for(10 * MS);
        let header = binary(source, service(), 0);
        world.write_wire(wire, &header).expect("room");
        world.run_for(10 * MS);
    }
    let metrics = world.net(server).metrics();
    let counts = (metrics.handshakes_evicted, metrics.refused_by_handshakes);
    assert_eq!(counts, (1, 0));
    assert_eq!(world.with(server, |it, _| it.evicted.clone()), [slow]);
    let waits = |addr| {
        world
            .net(server)
            .connecting()
            .any(|it| it.info().addr == addr)
    };
    assert!(waits(other));
}
