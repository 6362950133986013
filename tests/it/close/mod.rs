//! How connections are closed by this node, and what the peer receives.

mod abort;
mod after;
mod graceful;
mod half_open;
mod linger;
mod paused;
