//! Settings that can be changed while a connection exists.

use super::{ConnectionConfig, RateLimits, Timeouts};
use crate::error::ConfigError;
use crate::framing::Framing;

/// A new value of a setting of one connection.
#[derive(Clone, Debug)]
pub(crate) enum ConnectionSetting {
    MaxMessageLen(usize),
    Timeouts(Timeouts),
    Framing(Framing),
    Rate(RateLimits),
}

impl ConnectionSetting {
    /// Checks what does not depend on the other settings of the connection.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::Timeouts(timeouts) => timeouts.validate(),
            Self::Rate(limits) => limits.validate_connection(),
            Self::MaxMessageLen(_) | Self::Framing(_) => Ok(()),
        }
    }

    /// Returns the settings with this value.
    pub(crate) fn applied_to(&self, config: &ConnectionConfig) -> ConnectionConfig {
        let mut config = config.clone();
        match self {
            Self::MaxMessageLen(max) => config.max_message_len = *max,
            Self::Timeouts(timeouts) => config.timeouts = *timeouts,
            Self::Framing(framing) => config.framing = framing.clone(),
            Self::Rate(limits) => config.rate = *limits,
        }
        config
    }
}
