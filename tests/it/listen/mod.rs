//! Listeners.

mod bind;
mod close;
mod options;
