//! The parts of the benchmark of sessions beside the nodes.

#![allow(unreachable_pub, reason = "a module of a benchmark is no library")]

pub mod blocking_secured;
pub mod secured;
pub mod security;
