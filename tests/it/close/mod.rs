//! How connections end: `close`, `close_write`, `abort`, FIN and reset.

mod abort;
mod after;
mod from_outside;
mod graceful;
mod half_open;
mod linger;
mod paused;
mod release;
mod stale_ids;
mod turns;
