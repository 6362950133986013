//! Configurations.

use peerloop::Config;
use peerloop::config::{OnExcess, OnPanic, Rate, RateLimits};

/// The default configuration with a change.
pub fn config_with(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// A configuration with which a failed assertion in a handler fails the test.
pub fn strict() -> Config {
    config_with(|config| config.on_panic = OnPanic::Unwind)
}

/// The largest rate.
pub const LARGEST_RATE: Rate = Rate {
    per_second: u32::MAX,
    burst: u32::MAX,
};

/// The largest rates, which end a connection that exceeds them.
pub fn largest_rates() -> RateLimits {
    RateLimits {
        receive_bytes: Some(LARGEST_RATE),
        receive_messages: Some(LARGEST_RATE),
        send_bytes: Some(LARGEST_RATE),
        send_messages: Some(LARGEST_RATE),
        on_excess: OnExcess::Disconnect,
    }
}
