//! Watermarks, `on_drain` and refused sends.

mod loop_limit;
mod watermarks;
