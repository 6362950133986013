//! Integration tests, a module per subject.

mod accept;
mod addresses;
mod close;
mod connect;
mod drain;
mod examples;
mod framing;
mod group;
mod handle;
mod handshake;
mod limits;
mod listen;
mod logging;
mod memory;
mod noise;
mod noise_hostile;
mod panics;
mod receive;
mod repository;
mod run;
mod send;
mod session;
mod sessions;
mod sessions_bad;
mod sessions_sealed;
mod shards;
mod shutdown;
#[cfg(feature = "sim")]
mod simulation;
mod simultaneous_open;
mod timeouts;
#[cfg(feature = "sim")]
mod timers;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_bad;
#[cfg(feature = "tls")]
mod tls_peers;
mod util;
