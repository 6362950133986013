//! Bodies for fuzzing. Each takes bytes, lets them decide what happens, and
//! panics where a promise is broken. cargo-fuzz feeds them from
//! `fuzz/fuzz_targets`, proptest from `tests/properties.rs`.

mod commands;
mod connection;
mod framing;
mod input;
#[path = "../../util/secured/noise.rs"]
mod noise;
mod reference;
mod session;
#[path = "../../util/secured/tls.rs"]
mod tls;

pub use commands::commands;
pub use connection::connection;
pub use framing::framing;
pub use session::session;
