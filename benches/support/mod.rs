//! What the benchmarks measure and what they measure against.

#![allow(unreachable_pub, reason = "a module of a benchmark is no library")]

pub mod blocking;
pub mod nodes;
