//! Integration tests, a module per subject.

mod accept;
mod addresses;
mod admission;
mod close;
mod connect;
mod contracts;
mod destructors;
mod drain;
mod example_runs;
mod examples;
mod face;
mod file_transfer;
mod framing;
mod group;
mod guarantees;
mod handle;
mod handshake;
mod interface;
mod invariants;
mod limits;
mod listen;
mod logging;
mod memory;
mod metrics;
mod module_order;
mod noise;
mod noise_hostile;
mod panics;
mod places;
mod pressure;
mod readme;
mod receive;
mod repository;
#[cfg(feature = "sim")]
mod retries;
mod run;
mod running;
#[cfg(feature = "sim")]
mod scenarios;
mod send;
mod session;
mod sessions;
mod sessions_bad;
mod sessions_sealed;
mod shards;
mod shutdown;
#[cfg(feature = "sim")]
mod sim;
#[cfg(feature = "sim")]
mod sim_kernel;
#[cfg(feature = "sim")]
mod sim_memory;
#[cfg(feature = "sim")]
mod sim_places;
#[cfg(feature = "sim")]
mod sim_time;
#[cfg(feature = "sim")]
mod sim_workload;
#[cfg(feature = "sim")]
mod simulation;
mod simultaneous_open;
mod swarm;
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
mod waiting;
