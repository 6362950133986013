//! Bytes that a callback flushes are sent before the next message of the visit
//! is delivered.

use std::net::SocketAddr;
use std::time::Duration;

use peerloop::sim::{Faults, World, spend};
use peerloop::{Config, ConnId, Handler, Net};

/// The time that the second message takes.
const LONG: Duration = Duration::from_millis(50);

/// Flushes an answer to the first message, and takes long for the second one.
struct Flushes;

impl Handler for Flushes {
    fn on_start(&mut self, net: &mut Net) {
        net.listen(SocketAddr::from(([0, 0, 0, 0], 7000)))
            .expect("the port is free");
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if message == b"1" {
            net.send(conn, b"flushed").expect("there is room");
            net.flush(conn);
        } else {
            spend(LONG);
        }
    }
}

/// Two messages in one read, after a number of other messages drawn from the
/// seed.
pub fn flush(seed: u64) {
    let mut world = World::new(seed);
    world.faults(Faults::calm());
    let node = world.node(Config::default(), Flushes);
    let addr = world.addr(node);
    let wire = world.wire(addr).expect("a wire");
    world.run_for(Duration::from_millis(10));
    for _ in 0..=seed % 5 {
        world
            .write_wire(wire, b"\0\0\0\x011\0\0\0\x012")
            .expect("there is room");
        world.run_for(LONG / 2);
        let mut read = Vec::new();
        world.read_wire(wire, &mut read).expect("it is well");
        assert_eq!(
            read, b"\0\0\0\x07flushed",
            "it does not wait for the second one"
        );
        world.run_for(LONG);
    }
}
