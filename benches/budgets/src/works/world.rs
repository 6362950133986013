//! A simulated world of many nodes.

use std::error::Error;
use std::time::Duration;

use peerloop::sim::World;
use peerloop::{Config, ConnId, Handler, Net};

use super::group::resident_bytes;

struct Idle;

impl Handler for Idle {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Returns the memory of a node in a world of `nodes`, each of which is connected
/// to the next. Measures this process, so nothing else may run in it.
pub(crate) fn world_node_bytes(nodes: u64) -> Result<f64, Box<dyn Error>> {
    let before = resident_bytes()?;
    let mut world = World::new(1);
    let ids: Vec<_> = (0..nodes)
        .map(|_| world.node(Config::default(), Idle))
        .collect();
    for pair in ids.windows(2) {
        world.with(pair[1], |_, net| net.listen("0.0.0.0:1"))?;
        let addr = world.addr(pair[1]);
        world.with(pair[0], |_, net| net.connect(addr))?;
    }
    world.run_for(Duration::from_secs(5));
    Ok((resident_bytes()? - before) / nodes as f64)
}
