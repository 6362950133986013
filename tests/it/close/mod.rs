//! The ends of connections: `close`, `close_write`, `abort`, FIN and reset.

mod from_outside;
mod release;
mod stale_ids;
