//! Looking at nodes without touching them.

use super::node_id::NodeId;
use super::observer::Observer;
use super::world::World;
use crate::handler::Handler;
use crate::net::Net;
use crate::node::Node;

impl World {
    /// A node's handler, to look at. Looking changes nothing: a run in which it is done goes on as one in which it is not.
    /// That is not so of [`World::with`], which may have changed what the node waits for and so has its next turn planned
    /// anew, with chances drawn from the seed.
    ///
    /// ```
    /// # use peerloop::{Config, ConnId, Handler, Net};
    /// # use peerloop::sim::World;
    /// #[derive(Default)]
    /// struct Counter(u64);
    ///
    /// impl Handler for Counter {
    ///     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {
    ///         self.0 += 1;
    ///     }
    /// }
    ///
    /// let mut world = World::new(7);
    /// let node = world.node(Config::default(), Counter::default());
    /// assert_eq!(world.handler(node).0, 0);
    /// assert_eq!(world.net(node).connection_count(), 0);
    /// ```
    ///
    /// # Panics
    ///
    /// When the node has crashed.
    pub fn handler<H: Handler + 'static>(&self, node: NodeId<H>) -> &H {
        &self.seen(node).handler().handler
    }

    /// A node's [`Net`], to look at. As [`World::handler`], it changes nothing.
    ///
    /// # Panics
    ///
    /// When the node has crashed.
    pub fn net<H: Handler + 'static>(&self, node: NodeId<H>) -> &Net {
        let (_, net, _) = self.seen(node).parts();
        net
    }

    fn seen<H: Handler + 'static>(&self, node: NodeId<H>) -> &Node<Observer<H>> {
        let Some(hosted) = &self.slots[node.index].node else {
            panic!("{node:?} has crashed");
        };
        match hosted.as_any().downcast_ref() {
            Some(node) => node,
            None => panic!("{node:?} belongs to another world"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::id::{ConnId, TimerId};
    use crate::sys::sim::Faults;

    #[derive(Default)]
    struct Ticker(u64);

    impl Handler for Ticker {
        fn on_start(&mut self, net: &mut Net) {
            net.set_timer(Duration::from_millis(10), 0);
        }

        fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

        fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
            self.0 += 1;
            self.on_start(net);
        }
    }

    /// How often a node has ticked in a second, and the trace of that.
    fn run(is_looked_at: bool) -> (u64, u64) {
        let mut world = World::new(3);
        world.faults(Faults::hostile());
        let nodes = [(); 3].map(|()| world.node(Config::default(), Ticker::default()));
        let stuck = world.run_until(Duration::from_secs(1), |world| {
            is_looked_at
                && nodes
                    .iter()
                    .any(|node| world.handler(*node).0 + world.net(*node).stats().bytes_sent > 1000)
        });
        assert!(stuck.is_err());
        (world.handler(nodes[0]).0, world.trace().hash())
    }

    #[test]
    fn looking_changes_nothing() {
        assert_eq!(run(true), run(false));
        assert!(
            run(true).0 > 50,
            "it ticks every ten milliseconds, and may be late"
        );
    }
}
