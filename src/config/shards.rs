//! How a node is spread over cores.

use std::thread;

use super::check;
use crate::error::ConfigError;

/// How many [`Shards`](crate::Shards) a node has, and which of them gets a connection.
///
/// ```
/// use peerloop::{Placement, ShardOptions};
///
/// let options = ShardOptions {
///     placement: Placement::RoundRobin,
///     ..ShardOptions::default()
/// };
/// assert!(options.shards >= 1);
/// ```
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// How many shards there are, each with a thread: from 1 to 256. Default: as many as
    /// [`std::thread::available_parallelism`] says that threads run at once, and 1 where it does not know.
    pub shards: usize,
    /// Which shard gets a connection that is accepted. Default: the one with the fewest.
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

/// What an id has room for.
const SHARDS_MAX: usize = 256;

/// Which of a node's [`Shards`](crate::Shards) gets a connection that one of them accepts. A connection that is dialled
/// belongs to the shard that dials.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Placement {
    /// The one with the fewest connections, dials and connections that are being handed over included; of several the
    /// one whose turn it is.
    FewestConnections,
    /// Each in its turn, however many it has.
    RoundRobin,
    /// The one that the system chooses: every shard has a listener of its own on the same address (SO_REUSEPORT), and
    /// keeps what it accepts. Nothing is handed over, at the price of an uneven spread: Linux chooses by a hash of the
    /// addresses (socket(7)), whatever a shard has to do already. Other systems than Linux may give all connections to
    /// one listener.
    ReusePort,
}
