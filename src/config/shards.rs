//! Settings of a node with several threads.

use std::thread;

use super::check::check;
use crate::error::ConfigError;

/// The number of [`Shards`](crate::shards::Shards) of a node, and the
/// assignment of inbound connections to them.
///
/// ```
/// use peerloop::config::{Placement, ShardOptions};
///
/// let options = ShardOptions {
///     placement: Placement::RoundRobin,
///     ..ShardOptions::default()
/// };
/// assert!(options.shards >= 1);
/// ```
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// Number of shards, from 1 to 256. Each shard has a thread.
    ///
    /// Default: [`std::thread::available_parallelism`], or 1 if it is unknown.
    pub shards: usize,
    /// Assignment of inbound connections to shards.
    ///
    /// Default: [`Placement::FewestConnections`].
    pub placement: Placement,
}

impl Default for ShardOptions {
    fn default() -> Self {
        Self {
            shards: thread::available_parallelism()
                .map_or(1, usize::from)
                .min(SHARDS_MAX),
            placement: Placement::FewestConnections,
        }
    }
}

impl ShardOptions {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        check(self.shards > 0, "shards", "must not be zero")?;
        check(self.shards <= SHARDS_MAX, "shards", "is above 256")
    }
}

/// Maximum number of shards, because a connection id has eight bits for the
/// shard.
const SHARDS_MAX: usize = 256;

/// The assignment of inbound connections to shards. An outbound connection
/// belongs to the shard that connects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Placement {
    /// The shard with the fewest connections, including connections that are
    /// connecting or being assigned. Shards with equally many take turns.
    FewestConnections,
    /// All shards in turn.
    RoundRobin,
    /// The shard that the operating system chooses.
    ///
    /// Every shard has a listener on the same address (SO_REUSEPORT) and keeps
    /// the connections that it accepts. No sockets are passed between threads.
    /// The distribution is uneven, because Linux chooses by a hash of the
    /// addresses (socket(7)). Other systems may give all connections to one
    /// listener.
    ReusePort,
}
