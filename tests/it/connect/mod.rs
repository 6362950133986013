//! Outbound connections: `connect`, `adopt`, duplicates, retries.

mod callbacks;
