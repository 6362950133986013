//! Shutting a node down.

mod full_queue;
mod grace;
