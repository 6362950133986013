//! The nodes that the benchmarks measure, and the limit that they are compared
//! with.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "a module of several benchmarks, each of which uses its own part, is no library"
)]

pub mod blocking;
pub mod nodes;
