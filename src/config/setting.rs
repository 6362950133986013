//! Settings that can be changed while a connection exists.

use super::{ConnectionConfig, Timeouts};
use crate::framing::Framing;

/// A new value of a setting of one connection.
#[derive(Clone, Debug)]
pub(crate) enum ConnectionSetting {
    MaxMessageLen(usize),
    Timeouts(Timeouts),
    Framing(Framing),
}

impl ConnectionSetting {
    /// Returns the settings with this value.
    pub(crate) fn applied_to(&self, config: &ConnectionConfig) -> ConnectionConfig {
        let mut config = config.clone();
        match self {
            Self::MaxMessageLen(max) => config.max_message_len = *max,
            Self::Timeouts(timeouts) => config.timeouts = *timeouts,
            Self::Framing(framing) => config.framing = framing.clone(),
        }
        config
    }
}
