//! Which seeds a test runs with.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The seeds for a test: from 0, `default` of them; as many as the environment variable `SEEDS` says, if it does; and just
/// the one in `SEED`, if that is set.
///
/// # Panics
///
/// When one of the variables is set and no number.
pub fn seeds(default: u64) -> Range<u64> {
    match (number("SEED"), number("SEEDS")) {
        (Some(seed), _) => seed..seed.saturating_add(1),
        (None, Some(count)) => 0..count,
        (None, None) => 0..default,
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable} is `{text}`, which is no number"),
    }
}

/// Runs a test with each of [`seeds`]. When it panics, the seed is printed, with how to replay it.
///
/// ```
/// use peerloop::sim;
///
/// sim::for_each_seed(3, |seed| assert!(seed < 3));
/// ```
pub fn for_each_seed(default: u64, mut test: impl FnMut(u64)) {
    for seed in seeds(default) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(seed))) {
            eprintln!("failed with the seed {seed}; to replay: {}", replay(seed));
            resume_unwind(panic);
        }
    }
}

/// The command that runs the present test with this seed alone.
pub(super) fn replay(seed: u64) -> String {
    let thread = std::thread::current();
    // A test has a thread of its name, unless the tests run one after the other in the main thread.
    let name = thread.name().filter(|name| *name != "main");
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    format!("SEED={seed} cargo test --all-features{name}")
}
