//! Turns, `run_until`, `spawn`, and loops inside other loops.

#[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
mod edge_triggered;
