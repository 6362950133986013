//! Configurations.

use peerloop::Config;
use peerloop::config::OnPanic;

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
