//! Tests that measure, limit or change their whole process run in a process of
//! their own.

use std::process::{Command, Stdio};

/// Set in such a process.
const CHILD: &str = "PEERLOOP_TEST_CHILD";

/// Whether this process runs one test only.
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Returns a command that runs one test in its own process, with at most this
/// many file descriptors. The test is named by `test_path!`.
pub fn command(test: &str, descriptors: Option<usize>) -> Command {
    let limit = descriptors.map_or(String::new(), |max| format!("ulimit -n {max} && "));
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limit}exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("a path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1");
    command
}

/// Runs the body of a test in a process in which no other test runs.
#[track_caller]
pub fn alone(test: &str, body: impl FnOnce()) {
    run(test, None, body);
}

/// As [`alone`], in a process with at most this many file descriptors.
#[track_caller]
pub fn alone_with_descriptors(test: &str, max: usize, body: impl FnOnce()) {
    run(test, Some(max), body);
}

#[track_caller]
fn run(test: &str, descriptors: Option<usize>, body: impl FnOnce()) {
    if is_child() {
        return body();
    }
    let output = command(test, descriptors)
        .stdin(Stdio::null())
        .output()
        .expect("a process");
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("1 passed"), "{printed}{errors}");
}

/// The path of a test of this module, as the test harness names it.
macro_rules! test_path {
    ($name:ident) => {
        concat!(module_path!(), "::", stringify!($name))
            .split_once("::")
            .expect("the path of a crate")
            .1
    };
}
pub(crate) use test_path;
