//! The ends of connections: `close`, `close_write`, `abort`, FIN and reset.
