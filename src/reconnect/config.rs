//! Settings of `KeepConnected`.

use std::time::Duration;

use super::BackoffConfig;
use crate::error::ConfigError;

/// Settings of a [`KeepConnected`](super::KeepConnected).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepConnectedConfig {
    /// Number of connections to keep. At most this number of connections and
    /// attempts exist at a time. With zero, none is made.
    ///
    /// Default: 8, as many as Bitcoin Core keeps for blocks and transactions.
    pub connections: usize,
    /// Maximum number of addresses in the list. It limits the memory if
    /// addresses come from peers.
    ///
    /// Default: 1,000, about 100 for each of the default `connections`.
    pub max_addresses: usize,
    /// The time that a connection must last to count as a success. The end of
    /// a shorter one counts as a failure of its address. Therefore a peer that
    /// accepts each connection and closes it soon is connected to less and less
    /// often.
    ///
    /// Default: 30 s. A peer that refuses this node in its protocol usually
    /// does so within that time.
    pub reset_after: Duration,
    /// The delays between attempts to connect to one address.
    ///
    /// Default: 1 s, doubling up to 2 minutes.
    pub backoff: BackoffConfig,
}

impl Default for KeepConnectedConfig {
    fn default() -> Self {
        Self {
            connections: 8,
            max_addresses: 1_000,
            reset_after: Duration::from_secs(30),
            backoff: BackoffConfig::default(),
        }
    }
}

impl KeepConnectedConfig {
    /// Checks the fields, as [`KeepConnected::new`](super::KeepConnected::new)
    /// does.
    ///
    /// # Errors
    ///
    /// - A [`ConfigError`] with the name of the first invalid field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.backoff.validate()
    }
}
