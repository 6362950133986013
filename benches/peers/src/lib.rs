//! The same work on peerloop, on similar libraries, and on the blocking threads
//! that are the limit. See `src/main.rs`.

pub mod baton;
pub mod footprint;
pub mod goals;
pub mod heap;
pub mod machine;
pub mod measure;
pub mod notes;
pub mod on;
pub mod pages;
pub mod plot;
pub mod raw;
pub mod rows;
#[path = "../../support/mod.rs"]
pub mod support;
pub mod table;
