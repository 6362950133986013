//! Outbound connections: `connect`, `adopt`, duplicates, retries.

mod simultaneous_open;
