//! Outbound connections: `connect`, `adopt`, duplicates, retries.
