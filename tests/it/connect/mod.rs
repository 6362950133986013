//! Outbound connections: `connect`, `adopt`, duplicates, retries.

mod adopt;
mod attempts;
mod callbacks;
mod duplicates;
mod errors;
mod instant_reset;
mod options;
#[cfg(feature = "sim")]
mod retries;
mod self_connections;
mod simultaneous_open;
mod topology;
mod views;
