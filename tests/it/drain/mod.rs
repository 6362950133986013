//! Watermarks, `on_drain` and refused sends.

mod full_queue;
