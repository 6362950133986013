//! Outbound connections: `connect`, `adopt`, duplicates, retries.

#[cfg(feature = "sim")]
mod retries;
