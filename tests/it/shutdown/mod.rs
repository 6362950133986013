//! Shutting a node down.

mod dropped;
mod grace;
mod refusals;
