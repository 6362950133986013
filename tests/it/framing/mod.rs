//! How messages are framed and reassembled.

mod lengths;
mod malformed;
mod splits;
