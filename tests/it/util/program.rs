//! Programs that some tests run.

use std::env;
use std::io::{self, ErrorKind, Write};
use std::process::Command;
use std::thread;

/// Returns whether a program is installed. `version` is the argument with which
/// it prints its version.
pub fn is_installed(program: &str, version: &str) -> bool {
    let version = Command::new(program).arg(version).output();
    !version.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Reports that the running test is skipped.
///
/// # Panics
///
/// If the environment variable `CI` is set.
pub fn skip<T>(reason: &str) -> Option<T> {
    assert!(env::var_os("CI").is_none(), "{reason}");
    let thread = thread::current();
    let test = thread.name().expect("the name of the test");
    // Without `eprintln!`, whose output is shown only when a test fails.
    let _ = writeln!(io::stderr(), "skipped {test}: {reason}");
    None
}
