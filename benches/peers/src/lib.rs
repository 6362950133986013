//! The same work on peerloop, on similar libraries, and on the blocking threads
//! that are the limit; see `src/main.rs`.
#![forbid(unsafe_code)]

pub mod heap;
pub mod job;
pub mod measure;
pub mod messages;
pub mod on;
pub mod report;
pub mod works;
