//! Configurations.

use peerloop::Config;

/// The default configuration with a change.
pub fn config_with(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}
