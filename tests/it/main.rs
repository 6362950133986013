//! Integration tests, a module per subject.

mod accept;
mod addresses;
mod changes;
mod close;
mod connect;
mod datagrams;
mod drain;
mod examples;
mod framing;
mod group;
mod handle;
mod hello;
mod limits;
mod listen;
mod logging;
mod memory;
#[cfg(feature = "noise")]
mod noise;
mod panics;
mod proxy;
mod rates;
mod receive;
mod reconnect;
mod repository;
mod requests;
mod run;
mod send;
mod session;
mod shards;
mod shutdown;
#[cfg(feature = "sim")]
mod simulation;
mod sources;
mod timeouts;
#[cfg(feature = "sim")]
mod timers;
#[cfg(feature = "tls")]
mod tls;
mod util;
