//! Turns of a node whose connections are silent, exactly, in a simulated world.

use std::net::SocketAddr;
use std::time::Duration;

use peerloop::sim::World;
use peerloop::{Config, ConnId, Handler, Net};

/// Number of connections.
const CONNECTIONS: u64 = 200;

/// Time between two connects.
const STEP: Duration = Duration::from_millis(50);

struct Silent;

impl Handler for Silent {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Returns the number of turns in 40 s after the last connect, with this idle
/// timeout.
pub(crate) fn turns_when_idle(idle: Option<Duration>) -> u64 {
    let mut world = World::new(1);
    let mut config = Config::default();
    config.limits.max_connections_per_address = CONNECTIONS as usize;
    config.connection.timeouts.idle = idle;
    config.connection.timeouts.receive_idle = idle;
    let server = world.node(config.clone(), Silent);
    world.with(server, |_, net| {
        net.listen("0.0.0.0:1").expect("the port is free")
    });
    let addr: SocketAddr = world.addr(server);
    config.allow_duplicates = true;
    config.limits.max_outbound_connecting = CONNECTIONS as usize;
    let client = world.node(config, Silent);
    for _ in 0..CONNECTIONS {
        let connected = world.with(client, |_, net| net.connect(addr).is_ok());
        assert!(connected);
        world.run_for(STEP);
    }
    assert_eq!(
        world.net(server).connections().count(),
        CONNECTIONS as usize
    );
    let before = world.net(server).metrics().turns;
    world.run_for(Duration::from_secs(40));
    world.net(server).metrics().turns - before
}
