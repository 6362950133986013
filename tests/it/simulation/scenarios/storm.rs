//! Partitions and crashes, drawn from the seed.

use std::collections::BTreeMap;
use std::time::Duration;

use peerloop::Handler;
use peerloop::sim::{NodeId, Random, World};

/// A handler whose node may crash.
pub trait Mortal: Handler {
    /// Returns the handler of the restarted node, with its persistent state
    /// only.
    fn reborn(self) -> Self;
}

/// Nodes, and the handlers of the stopped ones.
pub struct Storm<H> {
    nodes: Vec<NodeId<H>>,
    down: BTreeMap<usize, H>,
    random: Random,
}

impl<H: Mortal + 'static> Storm<H> {
    pub fn new(world: &mut World, nodes: &[NodeId<H>]) -> Self {
        Self {
            nodes: nodes.to_vec(),
            down: BTreeMap::new(),
            random: world.random(),
        }
    }

    /// Crashes, restarts, partitions or heals, or does nothing. More than half of the nodes stay up.
    pub fn strike(&mut self, world: &mut World) {
        let [one, other] = [0; 2].map(|_| self.random.below(self.nodes.len() as u64) as usize);
        match self.random.below(9) {
            0 | 1 if 2 * (self.down.len() + 1) < self.nodes.len() => self.crash(world, one),
            0..=2 => self.restart_one(world),
            8 => self.bounce(world, one),
            3 => world.partition(self.nodes[one], self.nodes[other]),
            4 => self.split(world),
            5 => world.heal(self.nodes[one], self.nodes.as_slice()),
            6 => world.heal_all(),
            _ => {}
        }
    }

    fn crash(&mut self, world: &mut World, index: usize) {
        let node = self.nodes[index];
        if world.is_up(node) {
            self.down.insert(index, world.crash(node));
        }
    }

    /// Crashes a node and restarts it at once.
    pub fn bounce(&mut self, world: &mut World, index: usize) {
        self.crash(world, index);
        self.restart(world, index);
    }

    fn restart(&mut self, world: &mut World, index: usize) {
        if let Some(handler) = self.down.remove(&index) {
            world.restart(self.nodes[index], handler.reborn());
        }
    }

    fn restart_one(&mut self, world: &mut World) {
        if let Some(index) = self.down.keys().next() {
            self.restart(world, *index);
        }
    }

    /// Partitions the nodes into two groups.
    fn split(&mut self, world: &mut World) {
        let mut shuffled = self.nodes.clone();
        self.random.shuffle(&mut shuffled);
        let at = 1 + self.random.below(shuffled.len() as u64 - 1) as usize;
        let (left, right) = shuffled.split_at(at);
        world.partition(left, right);
    }

    /// How long until the next strike.
    pub fn pause(&mut self) -> Duration {
        Duration::from_millis(self.random.between(1, 3_000))
    }

    /// The nodes that run.
    pub fn up(&self) -> Vec<NodeId<H>> {
        let is_up =
            |(index, node): (usize, &NodeId<H>)| (!self.down.contains_key(&index)).then_some(*node);
        self.nodes.iter().enumerate().filter_map(is_up).collect()
    }

    /// Ends all faults: restarts all nodes and heals all partitions.
    pub fn end(&mut self, world: &mut World) {
        while !self.down.is_empty() {
            self.restart_one(world);
        }
        world.heal_all();
    }
}
