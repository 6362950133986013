//! Orders for other shards, in the order in which they were given, whether these have room or not.

use super::{ShardCommand, ShardRouter};
use crate::error::SendError;
use crate::id::ShardId;

impl ShardRouter {
    /// Passes an order on, unless one that was given before it still waits for room.
    pub(crate) fn pass(&mut self, shard: ShardId, order: ShardCommand) -> Result<(), SendError> {
        if !self.flush_waiting(shard) {
            return Err(SendError::Full);
        }
        let passed = self.shards.pass(shard, order);
        passed.map_err(|refused| refused.error)
    }

    /// Passes an order on that has no answer to be refused by: if there is no room it waits here, unless `max` orders for this
    /// shard do already. [`ShardRouter::flush_waiting`] tells whether any wait.
    pub(crate) fn insist(
        &mut self,
        shard: ShardId,
        order: ShardCommand,
        max: usize,
    ) -> Result<(), SendError> {
        self.flush_waiting(shard);
        let waiting = self.waiting.get_mut(shard.index());
        let waiting = waiting.ok_or(SendError::Closed)?;
        if waiting.len() >= max {
            return Err(SendError::Full);
        }
        waiting.push_back(order);
        self.flush_waiting(shard);
        Ok(())
    }

    /// Passes on what waits for a shard, for as long as that has room. Whether all of it is gone.
    pub(crate) fn flush_waiting(&mut self, shard: ShardId) -> bool {
        let Some(waiting) = self.waiting.get_mut(shard.index()) else {
            return true;
        };
        while let Some(order) = waiting.pop_front() {
            let Err(refused) = self.shards.pass(shard, order) else {
                continue;
            };
            // Nothing waits for a shard that is gone.
            if let (SendError::Full, Some(order)) = (refused.error, refused.command) {
                waiting.push_front(order);
                return false;
            }
        }
        true
    }

    /// The same for every shard: one that is full holds up nobody else.
    pub(crate) fn flush_all_waiting(&mut self) -> bool {
        let shards = self.shards.shards();
        shards.filter(|shard| !self.flush_waiting(*shard)).count() == 0
    }
}
