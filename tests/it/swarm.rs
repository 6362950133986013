//! The examples with many connections, small: they lose nothing, and would say so if they did.

use std::env::{self, consts};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

/// An example of this build.
fn path(example: &str) -> PathBuf {
    let test = env::current_exe().expect("a path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let name = format!("{example}{}", consts::EXE_SUFFIX);
    profile.join("examples").join(name)
}

/// Runs an example to its end, which comes by itself.
fn run(example: &str, arguments: &[&str]) -> (Option<i32>, String) {
    end_of(Command::new(path(example)).args(arguments))
}

fn end_of(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output();
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("the example starts");
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
#[cfg(target_os = "linux")]
fn idle_and_talking_connections_of_several_processes_lose_nothing() {
    let arguments = ["--idle", "1150", "--talking", "50", "--messages", "20"];
    let (code, output) = run("c10k", &arguments);
    assert_eq!(code, Some(0), "{output}");
    assert!(
        output.contains("1200 connections from 2 processes"),
        "{output}"
    );
    let result = "1200 connections at once, 3350 of 3350 answers right";
    assert!(output.contains(result), "{output}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_client_process_that_loses_its_server_counts_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let (code, output) = run("c10k", &["--swarm", &addr, "127.0.0.2", "0", "1", "1"]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.starts_with("0 1\n"), "{output}");
    assert!(output.contains("127.0.0.2: cannot connect: "), "{output}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_loss_is_told_and_fails() {
    // Neither the server nor its client process has descriptors for so many.
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 40 && exec \"$0\" \"$@\""]);
    shell.arg(path("c10k"));
    let arguments = ["--idle", "0", "--talking", "100", "--messages", "1"];
    let (code, output) = end_of(shell.args(arguments));
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("c10k: something was lost"), "{output}");
}

#[test]
fn connections_come_and_go_and_both_sides_agree() {
    let (code, output) = run("churn", &["--seconds", "2", "--at-once", "10"]);
    assert_eq!(code, Some(0), "{output}");
    // A line a second, while it runs.
    assert!(output.contains(" cycles a second\n"), "{output}");
    let done = output.lines().find_map(|line| line.split_once(" of "));
    let (done, _) = done.expect("the summary");
    assert_ne!(done, "0", "{output}");
    let seen = format!("has seen {done} come, {done} go, and {done} messages");
    assert!(output.contains(&seen), "{output}");
}

#[test]
fn mistaken_arguments_are_explained() {
    for (example, arguments, explanation) in [
        ("c10k", &["--talking", "0"][..], "somebody has to talk"),
        ("c10k", &["--loud"][..], "usage: c10k"),
        ("churn", &["--at-once", "0"][..], "one connection at least"),
        ("churn", &["for", "ever"][..], "usage: churn"),
    ] {
        let (code, output) = run(example, arguments);
        assert_eq!(code, Some(1), "{example} {arguments:?}: {output}");
        assert!(output.contains(explanation), "{output}");
    }
}
