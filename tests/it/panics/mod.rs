//! Panics and other faults of the user's code.

mod destructors;
mod framing_factory;
