//! Connections that are ended because incomplete messages hold too much memory.

use std::error::Error;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use peerloop::error::SessionError;
use peerloop::framing::Framing;
use peerloop::session::{Output, Session, Stage};
use peerloop::sim::{Faults, World};
use peerloop::{Config, ConnId, ConnInfo, DisconnectReason, Handler, Net, Transport};

const MIB: usize = 1 << 20;

/// Notes which addresses were ended, and why.
#[derive(Default)]
struct Server {
    ended: Vec<(SocketAddr, DisconnectReason)>,
}

impl Handler for Server {
    fn on_start(&mut self, net: &mut Net) {
        net.listen("[::]:7000").expect("the port is free");
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        let connection = net.connection(conn).expect("its slot is kept");
        self.ended.push((connection.info().addr, reason));
    }
}

/// Sends bytes as they are.
#[derive(Default)]
struct Client(Option<ConnId>);

impl Handler for Client {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.0 = Some(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// An honest peer has sent 1 MiB of 4 MiB. Then forty peers, at the addresses
/// that `ip` returns, send a part of a message each. Returns the addresses of
/// the connections that were ended.
fn ended(ip: impl Fn(u16) -> Ipv6Addr) -> Vec<IpAddr> {
    let mut world = World::new(1);
    world.faults(Faults::calm());
    let mut config = Config::default();
    config.limits.loop_receive_bytes = 8 * MIB;
    config.connection.max_message_len = 4 * MIB;
    config.connection.min_rate.receive_bytes_per_second = None;
    let at = |ip: Ipv6Addr| IpAddr::V6(ip);
    let server = world.node_at(
        at("fd00:1::1".parse().expect("an address")),
        config,
        Server::default(),
    );
    let addr = world.addr(server);
    let mut raw = Config::default();
    raw.connection.framing = Framing::Raw;
    let honest: Ipv6Addr = "fd00:9::1".parse().expect("an address");
    let ips = std::iter::once(honest).chain((1..=40).map(ip));
    let clients: Vec<_> = ips
        .map(|ip| {
            let client = world.node_at(at(ip), raw.clone(), Client::default());
            world
                .with(client, |_, net| net.connect(addr))
                .expect("no limit is reached");
            client
        })
        .collect();
    world.run_for(Duration::from_secs(1));
    for (index, client) in clients.iter().enumerate() {
        let part = if index == 0 { MIB } else { 250_000 };
        let mut bytes = u32::try_from(4 * MIB)
            .expect("a length")
            .to_be_bytes()
            .to_vec();
        bytes.resize(part, 7);
        world.with(*client, |it, net| {
            net.send(it.0.expect("it is connected"), &bytes)
                .expect("there is room");
        });
        world.run_for(Duration::from_millis(500));
    }
    world.run_for(Duration::from_secs(2));
    let ended = &world.handler(server).ended;
    assert!(
        ended
            .iter()
            .all(|(_, reason)| *reason == DisconnectReason::MemoryLimit)
    );
    ended.iter().map(|(addr, _)| addr.ip()).collect()
}

#[test]
fn address_that_holds_most_is_ended() {
    let attacker = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 1);
    let ended = ended(|_| attacker);
    assert!(
        !ended.is_empty() && ended.iter().all(|ip| *ip == attacker),
        "{ended:?}"
    );
}

/// A host usually has 2^64 addresses, so a prefix of 64 bits counts as one.
#[test]
fn prefix_that_holds_most_is_ended() {
    let ended = ended(|index| Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, index));
    let honest: IpAddr = "fd00:9::1".parse().expect("an address");
    assert!(!ended.is_empty() && !ended.contains(&honest), "{ended:?}");
}

/// A session that keeps all bytes.
#[derive(Default)]
struct Keeps(Vec<u8>);

impl Session for Keeps {
    fn receive(&mut self, wire: &mut [u8], _: &mut Output<'_>) -> Result<usize, SessionError> {
        self.0.extend_from_slice(wire);
        Ok(wire.len())
    }

    fn stage(&self) -> Stage {
        Stage::Handshaking
    }

    fn held_bytes(&self) -> usize {
        self.0.len()
    }
}

struct KeepsAll;

impl Handler for KeepsAll {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(Keeps::default().into())
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

#[test]
fn bytes_that_a_session_holds_are_charged() {
    let mut world = World::new(1);
    world.faults(Faults::calm());
    let server = world.node(Config::default(), KeepsAll);
    let listening = world.with(server, |_, net| net.listen("0.0.0.0:7000"));
    listening.expect("the port is free");
    let addr = world.addr(server);
    let wire = world.wire(addr).expect("a free port");
    world.run_for(Duration::from_secs(1));
    let written = world.write_wire(wire, &[7; 1000]);
    assert_eq!(written.expect("it is connected"), 1000);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.net(server).metrics().received_bytes, 1000);
}
