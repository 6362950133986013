//! The environment variables of all tests in this repository. They are read here
//! and, for the simulated tests, in `src/sim/seeds.rs`.
//!
//! | Variable | Effect | Default |
//! |---|---|---|
//! | `PEERLOOP_SEED` | Random tests run this seed alone. A failing test prints its seed. | |
//! | `PEERLOOP_SEEDS` | Number of seeds of each random test, from 0. | 100, fewer if slow |
//! | `PEERLOOP_SECONDS` | How long each timed test runs. | 5, more where a test says so |
//!
//! `PROPTEST_CASES` sets the number of cases of the property tests in
//! `tests/fuzz`. With `CI` set, a test fails if a program that it needs is
//! missing; otherwise it is skipped. Variables that begin with
//! `PEERLOOP_TEST_` are set by tests for their child processes.

use std::ops::Range;
use std::time::Duration;

/// Number of seeds of a random test, unless a seed takes long.
pub const SEEDS: u64 = 100;

/// Returns the value of `PEERLOOP_SEED`.
pub fn seed() -> Option<u64> {
    number("PEERLOOP_SEED")
}

/// Runs a test with each of its seeds. Prints the seed with which it panics.
pub fn for_each_seed(default: u64, mut test: impl FnMut(u64)) {
    for seed in seeds(default) {
        let _printed = PrintedOnPanic(seed);
        test(seed);
    }
}

fn seeds(default: u64) -> Range<u64> {
    match seed() {
        Some(seed) => seed..seed.saturating_add(1),
        None => 0..number("PEERLOOP_SEEDS").unwrap_or(default),
    }
}

struct PrintedOnPanic(u64);

impl Drop for PrintedOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with PEERLOOP_SEED={}", self.0);
        }
    }
}

/// Returns how long a timed test runs.
pub fn seconds(default: u64) -> Duration {
    Duration::from_secs(number("PEERLOOP_SECONDS").unwrap_or(default))
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable} is `{text}`, which is not a number"),
    }
}
