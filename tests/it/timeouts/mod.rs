//! Timeouts of connections.

mod small_reads;
