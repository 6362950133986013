//! The grace of several shutdowns.

use super::*;

/// Requests a second shutdown in a callback that takes half a second.
#[derive(Default)]
struct Late {
    ended: Option<Instant>,
}

impl Handler for Late {
    fn on_start(&mut self, net: &mut Net) {
        listen(net);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        sim::spend(500 * MS);
        net.shutdown(150 * MS);
    }

    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, reason: DisconnectReason) {
        assert_eq!(reason, DisconnectReason::Shutdown);
        self.ended = Some(net.now());
    }
}

#[test]
fn later_request_does_not_extend_the_grace() {
    let mut world = calm(1);
    let node = world.node(
        with_timeouts(|timeouts| timeouts.linger = None),
        Late::default(),
    );
    world.run_for(MS);
    let addr = world.addr(node);
    let _wire = world.wire(addr).expect("a wire");
    world.run_for(10 * MS);
    let requested = world.with(node, |_, net| {
        net.set_timer(10 * MS, 0);
        net.shutdown(200 * MS);
        net.now()
    });
    world.run_for(SECOND);
    let ended = world.handler(node).ended.expect("it has ended");
    // In the turn after the callback, and not 150 ms after that turn.
    let took = ended - requested;
    assert!(took < 511 * MS, "{took:?}");
}
