//! Watermarks, `on_drain` and refused sends.
