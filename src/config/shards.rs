//! Settings of a node on several threads.

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
    /// Number of shards, each with a thread, from 1 to 256.
    ///
    /// Default: [`std::thread::available_parallelism`], or 1 where it is not
    /// known.
    pub shards: usize,
    /// The shard to which an inbound connection is assigned.
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

/// The number of shards that a connection id can name.
const SHARDS_MAX: usize = 256;

/// The shard to which an inbound connection is assigned. An outbound connection
/// belongs to the shard that connects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Placement {
    /// The one with the fewest connections, including those that are connecting
    /// or being assigned. Of several the next in turn.
    FewestConnections,
    /// Each in turn.
    RoundRobin,
    /// The one that the operating system chooses.
    ///
    /// Every shard has a listener on the same address (SO_REUSEPORT) and keeps
    /// what it accepts. Nothing is passed between threads, but the spread is
    /// uneven, because Linux chooses by a hash of the addresses (socket(7)).
    /// Other systems may give all connections to one listener.
    ReusePort,
}
