//! A simulated world of many nodes.

use std::error::Error;
use std::time::Duration;

use peerloop::sim::World;
use peerloop::{Config, ConnId, Handler, Net};

struct Idle;

impl Handler for Idle {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Makes a world of `nodes`, each of which is connected to the next, and runs it
/// until they are idle.
pub(super) fn world(nodes: u64) -> Result<World, Box<dyn Error>> {
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
    Ok(world)
}
