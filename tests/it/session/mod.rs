//! Sessions of one's own.

mod transport;
