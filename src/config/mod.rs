//! Settings of a node: limits, timeouts, budgets and socket options.
//!
//! A [`Config`] holds all settings of a node. A [`ConnectionConfig`] holds the
//! settings of a connection, which a listener or an outbound connection can
//! change.
//!
//! Write the structs as literals that end in `..Default::default()`, because a
//! new field is a minor change. [`ListenOptions`] and [`ConnectOptions`] start
//! from the settings of a node. They are created by
//! [`Net::listen_options`](crate::Net::listen_options) and
//! [`Net::connect_options`](crate::Net::connect_options).

mod check;
mod connection;
mod limits;
mod network;
mod node;
mod options;
mod ping;
mod prefix_limit;
mod proxies;
mod rates;
mod setting;
mod shards;
mod sockets;
mod timeouts;
mod udp;

pub use connection::{ConnectionConfig, OnFramingError, OnFull, SendQueueConfig};
pub(crate) use limits::ADDRESS_V6_BITS;
pub use limits::Limits;
pub use network::Network;
pub(crate) use network::masked;
pub use node::{CommandQueueConfig, Config, OnPanic, TurnBudget};
pub use options::{ConnectOptions, ListenOptions, ListenerLimits};
pub use ping::Ping;
pub use prefix_limit::PrefixLimit;
pub use proxies::TrustedProxies;
pub use rates::{OnExcess, Rate, RateLimits};
pub(crate) use setting::ConnectionSetting;
pub use shards::{Placement, ShardOptions};
pub use sockets::{Keepalive, SocketConfig};
pub use timeouts::{MinRate, Timeouts};
pub use udp::{MulticastInterface, UdpOptions};

pub use crate::error::ConfigError;
