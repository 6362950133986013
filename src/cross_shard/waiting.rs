//! Commands that wait for room in the queue of another shard, in their order.

use super::{ShardCommand, ShardRouter};
use crate::error::SendError;
use crate::id::ShardId;

impl ShardRouter {
    /// Passes a command. Returns `Full` if an earlier command waits for room.
    pub(crate) fn pass(&mut self, shard: ShardId, command: ShardCommand) -> Result<(), SendError> {
        if !self.pass_waiting(shard) {
            return Err(SendError::Full);
        }
        let passed = self.shards.pass(shard, command);
        passed.map_err(|refused| refused.error)
    }

    /// Passes a command that cannot be returned to a caller. If there is no
    /// room, the command waits here. Returns `Full` if `max` commands wait for
    /// that shard already.
    pub(crate) fn pass_or_queue(
        &mut self,
        shard: ShardId,
        command: ShardCommand,
        max: usize,
    ) -> Result<(), SendError> {
        self.pass_waiting(shard);
        let waiting = self.waiting.get_mut(shard.index());
        let waiting = waiting.ok_or(SendError::Closed)?;
        if waiting.len() >= max {
            return Err(SendError::Full);
        }
        waiting.push_back(command);
        self.pass_waiting(shard);
        Ok(())
    }

    /// Passes waiting commands while the shard has room. Returns whether all
    /// were passed.
    pub(crate) fn pass_waiting(&mut self, shard: ShardId) -> bool {
        let Some(waiting) = self.waiting.get_mut(shard.index()) else {
            return true;
        };
        while let Some(command) = waiting.pop_front() {
            let Err(refused) = self.shards.pass(shard, command) else {
                continue;
            };
            // Commands for a stopped shard are dropped.
            if refused.error == SendError::Full {
                waiting.push_front(refused.command);
                return false;
            }
        }
        true
    }

    /// Passes waiting commands to all shards. Returns whether all were passed.
    /// A full shard does not delay the others.
    pub(crate) fn pass_all_waiting(&mut self) -> bool {
        let shards = self.shards.shards();
        shards.filter(|shard| !self.pass_waiting(*shard)).count() == 0
    }
}
