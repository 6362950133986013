//! A slow honest client, and silent clients that hold all handshake places of
//! the server and connect again as soon as they lose one. In virtual time: the
//! honest client is accepted, and never evicted.

#![allow(unreachable_pub, reason = "a module of several tests")]

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::config::{ConnectionConfig, Limits, Timeouts};
use peerloop::sim::{Faults, Link, Random, World};
use peerloop::{Config, ConnId, ConnInfo, ConnectError, Direction, Handler, Net, Transport};

use super::sessions::{Greeting, MAGIC, Manner};

const PORT: u16 = 7000;

struct Peer {
    manner: Manner,
    connected: bool,
    failed: Vec<ConnectError>,
}

impl Peer {
    fn new(manner: Manner) -> Self {
        Self {
            manner,
            connected: false,
            failed: Vec::new(),
        }
    }

    fn connect(net: &mut Net, addr: SocketAddr, delay: Duration) {
        let mut options = net.connect_options();
        options.allow_duplicate = true;
        options.delay = Some(delay);
        net.connect_with(addr, options).expect("within the limits");
    }
}

impl Handler for Peer {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(Greeting::new(self.manner).into())
    }

    fn on_connect(&mut self, _: &mut Net, _: ConnId) {
        self.connected = true;
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        _: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        self.failed.push(error);
        if self.manner == Manner::Silent && info.direction == Direction::Outbound {
            Self::connect(net, info.addr, Duration::from_millis(10));
        }
    }
}

/// One world from this seed.
pub fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(seed);
    world.faults(Faults::calm());
    let mut config = Config {
        connection: ConnectionConfig {
            timeouts: Timeouts {
                handshake: None,
                ..Timeouts::default()
            },
            ..ConnectionConfig::default()
        },
        ..Config::default()
    };
    let client = config.clone();
    let attackers = random.between(1, 3);
    // Each attacker has at least two, also when the honest client has one.
    let places = 2 * attackers + random.between(1, 4);
    config.limits = Limits {
        max_inbound_handshakes: places as usize,
        ..Limits::default()
    };
    let server = world.node(config, Peer::new(Manner::Agrees));
    world
        .with(server, |_, net| net.listen(("0.0.0.0", PORT)).map(drop))
        .expect("the port is free");
    let addr = SocketAddr::new(world.ip(server), PORT);
    for _ in 0..attackers {
        let attacker = world.node(client.clone(), Peer::new(Manner::Silent));
        world.link(
            attacker,
            server,
            Link::new(Duration::from_micros(random.between(500, 5_000))),
        );
        world.with(attacker, |_, net| {
            for _ in 0..=places {
                Peer::connect(net, addr, Duration::ZERO);
            }
        });
    }
    world.run_for(Duration::from_millis(random.between(20, 200)));
    let honest = world.wire(addr).expect("a wire");
    world.run_for(Duration::from_millis(random.between(200, 500)));
    let written = world.write_wire(honest, &MAGIC);
    assert_eq!(written.expect("it still has its place"), MAGIC.len());
    world.run_for(Duration::from_millis(500));
    let mut received = Vec::new();
    let has_ended = world.read_wire(honest, &mut received).expect("it is open");
    assert_eq!((received.as_slice(), has_ended), (&MAGIC[..], false));
    world.with(server, |server, net| {
        assert!(net.metrics().handshakes_evicted > 0);
        assert!(server.failed.contains(&ConnectError::Evicted));
        assert!(server.connected);
    });
}
