//! Integration tests, a module per subject.

mod accept;
mod addresses;
mod admission;
mod chaos;
mod close;
mod complaints;
mod connect;
mod contracts;
mod deadlines;
mod destructors;
mod drain;
mod example_runs;
mod examples;
mod face;
mod faults;
mod file_transfer;
mod framing;
mod group;
mod guarantees;
mod handle;
mod held_up;
mod interface;
mod invariants;
mod lifecycle;
mod limits;
mod listen;
mod log_levels;
mod logging;
mod memory;
mod metrics;
mod module_order;
#[cfg(feature = "noise")]
mod noise;
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
mod swarm;
mod timeouts;
#[cfg(feature = "sim")]
mod timers;
#[cfg(feature = "tls")]
mod tls;
mod util;
mod waiting;
mod wire_end;
mod wire_in;
