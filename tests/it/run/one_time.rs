//! The time of a turn.

use std::time::{Duration, Instant};

use peerloop::{Config, ConnId, Handler, Net, Node};

/// Records the time of each turn, and takes a millisecond in it.
#[derive(Default)]
struct Slow(Vec<Instant>);

impl Handler for Slow {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_turn(&mut self, net: &mut Net) {
        self.0.push(net.now());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn now_advances_with_turns_and_never_goes_back() {
    let mut node = Node::new(Config::default(), Slow::default()).expect("a node");
    for _ in 0..20 {
        let between = node.net().now();
        let _ = node.turn(Some(Duration::ZERO)).expect("a turn");
        let during = *node.handler().0.last().expect("there was a turn");
        assert!(during >= between && node.net().now() > during);
    }
    assert!(
        node.handler()
            .0
            .is_sorted_by(|earlier, later| earlier < later)
    );
}
