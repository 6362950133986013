//! Access to nodes that does not change the run.

use super::node_id::NodeId;
use super::observer::Observer;
use super::world::World;
use crate::handler::Handler;
use crate::net::Net;
use crate::node::Node;

impl World {
    /// Returns the handler of a node.
    ///
    /// The call does not change the run. [`World::with`], in contrast, may
    /// change the deadlines of the node, so the node's next turn is planned
    /// again, with random numbers from the seed.
    ///
    /// ```
    /// # use peerloop::config::OnPanic;
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
    /// let config = Config { on_panic: OnPanic::Unwind, ..Config::default() };
    /// let node = world.node(config, Counter::default());
    /// assert_eq!(world.handler(node).0, 0);
    /// assert_eq!(world.net(node).connection_count(), 0);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the node has crashed or belongs to another world.
    pub fn handler<H: Handler + 'static>(&self, node: NodeId<H>) -> &H {
        &self.node_ref(node).handler().handler
    }

    /// Returns the [`Net`] of a node. Like [`World::handler`], the call does
    /// not change the run.
    ///
    /// # Panics
    ///
    /// Panics if the node has crashed or belongs to another world.
    pub fn net<H: Handler + 'static>(&self, node: NodeId<H>) -> &Net {
        let (_, net, _) = self.node_ref(node).parts();
        net
    }

    fn node_ref<H: Handler + 'static>(&self, node: NodeId<H>) -> &Node<Observer<H>> {
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

    /// Returns the number of ticks of a node in one second, and the hash of the
    /// trace.
    fn run(is_inspected: bool) -> (u64, u64) {
        let mut world = World::new(3);
        world.faults(Faults::hostile());
        let nodes = [(); 3].map(|()| world.node(Config::default(), Ticker::default()));
        let result = world.run_until(Duration::from_secs(1), |world| {
            is_inspected
                && nodes.iter().any(|node| {
                    world.handler(*node).0 + world.net(*node).traffic().bytes_sent > 1000
                })
        });
        assert!(result.is_err());
        (world.handler(nodes[0]).0, world.trace().hash())
    }

    #[test]
    fn reading_does_not_change_the_run() {
        assert_eq!(run(true), run(false));
        assert!(
            run(true).0 > 50,
            "a node ticks every ten milliseconds, and may be late"
        );
    }
}
