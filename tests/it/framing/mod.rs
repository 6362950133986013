//! How messages are framed and reassembled.

mod lengths;
mod malformed;
mod on_error;
mod splits;
