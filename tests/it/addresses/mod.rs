//! Canonical addresses, in callbacks, views and limits.

mod reused;
