//! Shutting a node down.

mod last_messages;
