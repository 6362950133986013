//! Turns, `run_until`, `spawn`, and loops inside other loops.

mod config;
#[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
mod descriptor;
mod turns;
