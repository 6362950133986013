//! Parts of the benchmark of sessions: keys and certificates, nodes, and the
//! blocking threads that are the limit.

#![allow(unreachable_pub, reason = "a module of a benchmark is no library")]

pub mod blocking;
pub mod nodes;
pub mod security;
