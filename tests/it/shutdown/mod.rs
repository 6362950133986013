//! Shutting a node down.
mod grace;
