//! Canonical addresses, in callbacks, views and limits.

mod canonical;
mod reused;
