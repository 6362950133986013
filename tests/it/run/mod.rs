//! Turns, `run_until`, `spawn`, and loops inside other loops.
