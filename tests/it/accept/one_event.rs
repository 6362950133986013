//! Many connections behind one event of the listener.

use peerloop::Config;

use crate::util::raw::{connect, settle};
use crate::util::{PATIENCE, Recorder, listening, unlimited_time};

#[test]
fn one_event_accepts_all_that_wait() {
    let config = Config {
        budget: unlimited_time(),
        ..Config::default()
    };
    let (mut node, addr) = listening(config, Recorder::default());
    settle(&mut node);
    let peers = [(); 60].map(|()| connect(addr));
    assert!(peers.len() < node.net().config().budget.accepts);
    let _ = node.turn(Some(PATIENCE)).unwrap();
    assert_eq!(node.handler().connected().len(), peers.len());
}
