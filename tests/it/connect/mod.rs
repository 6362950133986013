//! Outbound connections: `connect`, `adopt`, duplicates, retries.

mod adopt;
mod attempts;
mod duplicates;
mod errors;
mod options;
mod self_connections;
mod topology;
mod views;
