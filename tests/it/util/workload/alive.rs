//! Silence and pings at times drawn from the seed, to the microsecond.

use std::net::SocketAddr;
use std::time::Duration;

use peerloop::config::Ping;
use peerloop::error::TimeoutKind;
use peerloop::sim::{Faults, Random, Wire, World};
use peerloop::{Config, ConnId, DisconnectReason, Handler, Net};

/// The latency of a link.
const LATENCY: Duration = Duration::from_millis(1);

/// Sends when it is told to, and records the end.
#[derive(Default)]
struct Quiet {
    conn: Option<ConnId>,
    ended: Option<DisconnectReason>,
}

impl Handler for Quiet {
    fn on_start(&mut self, net: &mut Net) {
        net.listen(SocketAddr::from(([0, 0, 0, 0], 7000)))
            .expect("the port is free");
    }

    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.conn = Some(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.ended = Some(reason);
    }
}

fn read(world: &mut World, wire: Wire) -> Vec<u8> {
    let mut read = Vec::new();
    world.read_wire(wire, &mut read).expect("it is well");
    read
}

/// The peer sends once. The node sends often, then nothing. A ping follows the
/// last message and not the others, and the end follows the byte of the peer.
pub fn alive(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(seed);
    world.faults(Faults::calm());
    let after = Duration::from_micros(random.between(100_000, 5_000_000));
    let sends = random.between(1, 5) as u32;
    // Nothing but the last message and its ping is within this time.
    let receive_idle = after * (sends + 2) + Duration::from_millis(random.between(20, 500));
    let mut config = Config::default();
    config.connection.timeouts.receive_idle = Some(receive_idle);
    config.connection.ping = Some(Ping {
        after,
        ..Ping::default()
    });
    let node = world.node(config, Quiet::default());
    let addr = world.addr(node);
    let wire = world.wire(addr).expect("a wire");
    world.run_for(Duration::from_millis(10));
    world.write_wire(wire, b"\0\0\0\0").expect("there is room");
    world.run_for(LATENCY);
    let heard = world.now();
    for _ in 0..sends {
        // The connection has been open for 11 ms, and each pass takes 1 ms.
        world.run_for(after - Duration::from_micros(random.between(12_000, 50_000)));
        world.with(node, |it, net| {
            let conn = it.conn.expect("it is connected");
            net.send(conn, b"sent").expect("there is room");
        });
        world.run_for(LATENCY);
        assert_eq!(read(&mut world, wire), b"\0\0\0\x04sent", "and no ping");
    }
    world.run_for(after - Duration::from_micros(1));
    assert_eq!(read(&mut world, wire), b"", "the ping is early");
    world.run_for(Duration::from_micros(1));
    assert_eq!(read(&mut world, wire), b"\0\0\0\0", "the ping");
    let left = heard + receive_idle - world.now();
    world.run_for(left - Duration::from_micros(1));
    assert_eq!(world.handler(node).ended, None, "it is not silent yet");
    world.run_for(Duration::from_micros(1));
    let reason = DisconnectReason::Timeout(TimeoutKind::ReceiveIdle);
    assert_eq!(world.handler(node).ended, Some(reason));
}
