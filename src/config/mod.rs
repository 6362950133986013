//! Settings of a node: every limit and timeout with its default and the reason
//! for it.
//!
//! A [`Config`] holds everything. The part that a listener or an
//! outbound connection may have otherwise is a [`ConnectionConfig`].
//!
//! Write the structs as literals that end in `..Default::default()`. A new
//! field is a minor change. [`ListenOptions`] and [`ConnectOptions`] begin with
//! the settings of a node: [`Net::listen_options`](crate::Net::listen_options)
//! and [`Net::connect_options`](crate::Net::connect_options) make them.

mod check;
mod connection;
mod limits;
mod network;
mod node;
mod options;
mod shards;
mod sockets;
mod timeouts;

pub use connection::{ConnectionConfig, OnFull, SendQueueConfig};
pub(crate) use limits::ADDRESS_V6_BITS;
pub use limits::{Limits, PrefixLimit, RetryRate};
pub use network::Network;
pub(crate) use network::masked;
pub use node::{CommandQueueConfig, Config, OnPanic, TurnBudget};
pub use options::{ConnectOptions, ListenOptions, ListenerLimits};
pub use shards::{Placement, ShardOptions};
pub use sockets::SocketConfig;
pub use timeouts::{MinRate, Timeouts};

pub use crate::error::ConfigError;
