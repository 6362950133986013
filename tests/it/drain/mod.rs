//! Watermarks, `on_drain` and refused sends.

mod full_queue;
mod loop_limit;
