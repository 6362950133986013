//! Panics and other faults of the user's code.

mod session;
