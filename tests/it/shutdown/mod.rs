//! Shutting a node down.

mod dropped;
mod full_queue;
mod grace;
mod last_messages;
mod refusals;
