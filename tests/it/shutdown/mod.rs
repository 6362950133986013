//! Shutting a node down.
