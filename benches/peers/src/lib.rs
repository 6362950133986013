//! The same work on peerloop, on similar libraries, and on the blocking threads
//! that are the limit. See `src/main.rs`.

pub mod baton;
pub mod heap;
pub mod machine;
pub mod measure;
pub mod on;
pub mod plot;
pub mod rows;
#[path = "../../support/mod.rs"]
pub mod support;
pub mod table;
