//! The seeds that a test runs with.

use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Returns the seeds for a test.
///
/// - With the environment variable `PEERLOOP_SEED`, that seed alone.
/// - Otherwise with `PEERLOOP_SEEDS`, that number of seeds, from 0 upwards.
/// - Otherwise `default` of them, from 0 upwards.
///
/// # Panics
///
/// When one of the variables is set and is not a number.
pub fn seeds(default: u64) -> Range<u64> {
    match (number("PEERLOOP_SEED"), number("PEERLOOP_SEEDS")) {
        (Some(seed), _) => seed..seed.saturating_add(1),
        (None, Some(count)) => 0..count,
        (None, None) => 0..default,
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable} is `{text}`, which is not a number"),
    }
}

/// Runs a test with each of [`seeds`].
///
/// If the test panics, the seed is printed with the command that runs the test
/// with this seed alone, and the panic is propagated. The command does not
/// contain the features of your own crate: add the features that the test
/// needs.
///
/// ```
/// use peerloop::sim;
///
/// sim::for_each_seed(3, |seed| assert!(seed < 3));
/// ```
pub fn for_each_seed(default: u64, mut test: impl FnMut(u64)) {
    for seed in seeds(default) {
        RUNNING.set(Some(seed));
        let outcome = catch_unwind(AssertUnwindSafe(|| test(seed)));
        RUNNING.set(None);
        if let Err(panic) = outcome {
            eprintln!("failed with the seed {seed}; to replay: {}", replay(seed));
            resume_unwind(panic);
        }
    }
}

thread_local! {
    /// The seed with which [`for_each_seed`] runs the current test.
    static RUNNING: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Returns the command that runs the current test again, for the message of a
/// world with this seed. A test may make worlds with other seeds than its own.
pub(super) fn replay(seed: u64) -> String {
    let seed = RUNNING.get().unwrap_or(seed);
    let thread = std::thread::current();
    // The test harness gives the thread of a test the name of the test, with
    // its modules. In a program or a documentation test the name is `main`.
    let Some(test) = thread.name().filter(|name| *name != "main") else {
        return format!("run it again with PEERLOOP_SEED={seed} in the environment");
    };
    // Cargo sets this variable to the package of the test.
    let package = match std::env::var("CARGO_PKG_NAME") {
        Ok(name) if name == env!("CARGO_PKG_NAME") => format!(" -p {name} --all-features"),
        Ok(name) => format!(" -p {name}"),
        Err(_) => String::new(),
    };
    format!("PEERLOOP_SEED={seed} cargo test{package} {test} -- --exact")
}
