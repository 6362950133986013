//! Peers of other makes, for the tests in `tests/`.
