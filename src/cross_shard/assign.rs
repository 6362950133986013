//! Assignment of accepted connections to shards.

use std::sync::atomic::Ordering;

use super::{AcceptedSocket, ShardCommand, ShardRouter};
use crate::config::Placement;

/// Maximum number of accepted connections on their way to one shard, because
/// they are not charged yet. Further connections stay at the shard that
/// accepted them.
const ARRIVING_MAX: usize = 256;

impl ShardRouter {
    /// Offers an accepted connection to the shards in their order, and counts
    /// it at the shard that takes it. Returns the connection if that is this
    /// shard, which takes any connection.
    pub(crate) fn assign(&mut self, accepted: AcceptedSocket) -> Option<AcceptedSocket> {
        self.sort_candidates();
        let mut command = ShardCommand::Adopt(Box::new(accepted));
        for &(_, index) in &self.candidates {
            let load = &self.shards.loads[index];
            load.fetch_add(1, Ordering::Relaxed);
            if index == self.own.index() {
                break;
            }
            let arriving = &self.shards.arriving[index];
            if arriving.fetch_add(1, Ordering::Relaxed) >= ARRIVING_MAX {
                arriving.fetch_sub(1, Ordering::Relaxed);
                load.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let Err(refused) = self.shards.mailboxes[index].pass(command) else {
                return None;
            };
            arriving.fetch_sub(1, Ordering::Relaxed);
            load.fetch_sub(1, Ordering::Relaxed);
            command = refused.command;
        }
        match command {
            ShardCommand::Adopt(accepted) => Some(*accepted),
            _ => None,
        }
    }

    /// Records that a connection from another shard has arrived at this one.
    pub(crate) fn note_arrival(&self) {
        self.shards.arriving[self.own.index()].fetch_sub(1, Ordering::Relaxed);
    }

    /// Sorts the shards into the order in which they are offered a connection.
    fn sort_candidates(&mut self) {
        let shards = self.shards.mailboxes.len();
        self.candidates.clear();
        if self.shards.placement == Placement::ReusePort {
            return self.candidates.push((0, self.own.index()));
        }
        let in_turn = (0..shards).map(|i| (self.next_shard + i) % shards);
        let load = |index: usize| match self.shards.placement {
            Placement::FewestConnections => self.shards.loads[index].load(Ordering::Relaxed),
            Placement::RoundRobin | Placement::ReusePort => 0,
        };
        self.candidates
            .extend(in_turn.map(|index| (load(index), index)));
        self.candidates.sort_by_key(|(load, _)| *load);
        self.next_shard = (self.next_shard + 1) % shards;
    }
}
