//! The example `torrent` against Transmission and aria2, over 127.0.0.1.
//!
//! The comparison is run with
//!
//! ```text
//! cargo test --release --test torrent -- --ignored --nocapture
//! ```
#![cfg(target_os = "linux")]

mod clients;
mod comparison;
mod torrents;
mod tracker;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use interop::programs::{Running, find, free_port, run};

use clients::{aria2, aria2_seed, example, remote, transmission};
use torrents::{Folder, NAME, assert_same, make};

/// Returns whether all programs are installed.
fn are_installed(programs: &[&str]) -> bool {
    programs.iter().all(|program| find(program).is_some())
}

#[test]
fn file_comes_from_transmission_and_aria2() {
    if !are_installed(&["transmission-daemon", "transmission-remote", "aria2c"]) {
        return;
    }
    let folder = Folder::new("fetch");
    // Nothing listens on the port of the tracker.
    let torrent = make(&folder, 100_000_000, free_port());
    let (_transmission, first, control) = transmission(&folder, &torrent);
    let (_aria2, second) = aria2_seed(&folder, &torrent);
    let copy = folder.path("copy");
    let mut command = example();
    command.arg("fetch").args([&torrent, &copy]);
    command.args([first, second].map(|port| format!("127.0.0.1:{port}")));
    let (status, text) = run(&mut command);
    assert!(status.success() && text.contains("verified"), "{text}");
    assert_same(&folder.path(NAME), &copy);
    let uploaded = remote(control, "-i");
    let uploaded = uploaded.lines().find(|line| line.contains("Uploaded:"));
    assert!(
        uploaded.is_some_and(|it| !it.contains("None")),
        "{uploaded:?}"
    );
}

#[test]
fn aria2_fetches_from_the_seed() {
    if !are_installed(&["aria2c"]) {
        return;
    }
    let (folder, copies) = (Folder::new("seed"), Folder::new("seeded"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let torrent = make(
        &folder,
        20_000_000,
        listener.local_addr().expect("an address").port(),
    );
    let mut command = example();
    command.arg("seed").args([&torrent, &folder.path(NAME)]);
    let mut seed = Running::start(command.stdout(Stdio::piped()));
    let mut line = String::new();
    let stdout = seed.0.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let port = line
        .trim_end()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    tracker::serve(listener, vec![port.expect("a port")]);
    let mut command = aria2(&copies.0, &torrent, free_port(), &["--seed-time=0"]);
    let (status, text) = run(&mut command);
    assert!(status.success(), "{text}");
    assert_same(&folder.path(NAME), &copies.path(NAME));
}
