//! Turns, `run_until`, `spawn`, and loops inside other loops.

mod budgets;
mod every_call;
mod fairness;
mod one_time;
mod random;
