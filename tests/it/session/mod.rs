//! Sessions of one's own.
