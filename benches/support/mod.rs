//! Parts that the benchmarks share: messages that are checked on arrival,
//! nodes, and the blocking threads that are the limit.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "a module of several benchmarks, each of which uses its own part, is no library"
)]

pub mod blocking;
pub mod messages;
pub mod nodes;

use std::io;
use std::time::Duration;

/// Maximum time to wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A benchmark whose connections are established. Dropping it closes them.
pub trait Job {
    /// Does this amount of work and returns when all of it is done.
    fn run(&mut self, amount: u64) -> io::Result<()>;
}

/// Returns an error with this text.
pub fn failed(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}
