//! Peers behind slow links, with default settings.

use std::time::Duration;

use peerloop::error::TimeoutKind;
use peerloop::sim::{Faults, World};
use peerloop::{Config, ConnId, DisconnectReason, Handler, Net};

#[derive(Default)]
struct Lengths {
    received: Vec<usize>,
    ended: Option<DisconnectReason>,
}

impl Handler for Lengths {
    fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
        self.received.push(message.len());
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.ended = Some(reason);
    }
}

/// Sends a message of 8 MiB, the default maximum, at this many bytes per second.
/// Returns the lengths that arrived, and the reason of the end.
fn send_slowly(bytes_per_second: usize) -> (Vec<usize>, Option<DisconnectReason>) {
    const LEN: usize = 8 * 1024 * 1024;
    let mut world = World::new(1);
    world.faults(Faults::calm());
    let server = world.node(Config::default(), Lengths::default());
    world
        .with(server, |_, net| net.listen("0.0.0.0:7000"))
        .expect("a listener");
    let addr = world.addr(server);
    let peer = world.wire(addr).expect("a wire");
    world.run_for(Duration::from_secs(1));
    let mut frame = (LEN as u32).to_be_bytes().to_vec();
    frame.resize(4 + LEN, 7);
    for piece in frame.chunks(bytes_per_second) {
        let written = world.write_wire(peer, piece);
        world.run_for(Duration::from_secs(1));
        if written.is_err() {
            break;
        }
    }
    let handler = world.handler(server);
    (handler.received.clone(), handler.ended)
}

#[test]
fn message_at_minimum_rate_outlasts_idle() {
    let (received, ended) = send_slowly(20 * 1024);
    assert_eq!((received.len(), ended), (1, None));
}

#[test]
fn message_below_minimum_rate_ends() {
    let (received, ended) = send_slowly(10 * 1024);
    let reason = DisconnectReason::Timeout(TimeoutKind::ReceiveRate);
    assert_eq!((received.len(), ended), (0, Some(reason)));
}
