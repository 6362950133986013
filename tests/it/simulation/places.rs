//! Honest clients beside silent ones.

use std::error::Error;
use std::time::Duration;

use crate::util::sessions::{Greeting, Manner};
use peerloop::config::Limits;
use peerloop::sim::{Faults, World, for_each_seed};
use peerloop::{Config, ConnId, ConnInfo, Handler, Net, Transport};

#[test]
fn honest_client_is_accepted() {
    for_each_seed(8, crate::util::occupied::run);
}

/// Gives each connection a `Greeting`.
struct Server;

impl Handler for Server {
    fn on_start(&mut self, net: &mut Net) {
        net.listen(("0.0.0.0", 7000)).expect("the port is free");
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(Greeting::new(Manner::Agrees).into())
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Each address has one place here, so a new handshake cannot take one of an
/// address that has more.
#[test]
fn handshake_is_evicted_after_a_silent_second() {
    let mut world = World::new(1);
    world.faults(Faults::calm());
    let limits = Limits {
        max_inbound_handshakes: 2,
        ..Limits::default()
    };
    let config = Config {
        limits,
        ..Config::default()
    };
    let server = world.node(config, Server);
    world.run_for(Duration::from_millis(1));
    let addr = world.addr(server);
    let mut connect_one = |after: u64| {
        world.wire(addr).expect("a wire");
        world.run_for(Duration::from_millis(after));
        let metrics = world.net(server).metrics();
        (metrics.refused_by_handshakes, metrics.handshakes_evicted)
    };
    assert_eq!(connect_one(200), (0, 0));
    assert_eq!(connect_one(750), (0, 0));
    assert_eq!(connect_one(100), (1, 0));
    // The first has been silent for more than a second, the second for less.
    assert_eq!(connect_one(10), (1, 1));
    assert_eq!(
        connect_one(10),
        (2, 1),
        "the second has not been silent for a second"
    );
}
