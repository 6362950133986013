//! Transmission, aria2 and the example, each as a seed and as a client that
//! fetches.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use interop::PATIENCE;
use interop::programs::{Running, free_port, run};

use crate::torrents::Folder;

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited too long for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Starts Transmission on the file of a folder, and waits until it has verified
/// it. Returns it, and the ports for peers and for remote control.
pub(crate) fn transmission(folder: &Folder, torrent: &Path) -> (Running, u16, u16) {
    let (port, control) = (free_port(), free_port());
    let config = folder.path(&format!("transmission-{port}"));
    fs::create_dir_all(config.join("torrents")).expect("a folder");
    fs::copy(torrent, config.join("torrents/file.torrent")).expect("a torrent");
    let download = folder.0.display();
    let settings = format!(
        r#"{{"dht-enabled": false, "lpd-enabled": false, "pex-enabled": false,
        "utp-enabled": false, "encryption": 0, "port-forwarding-enabled": false,
        "bind-address-ipv4": "127.0.0.1", "bind-address-ipv6": "::1",
        "rpc-bind-address": "127.0.0.1", "rpc-port": {control}, "peer-port": {port},
        "download-dir": "{download}"}}"#
    );
    fs::write(config.join("settings.json"), settings).expect("a file");
    let mut command = Command::new("transmission-daemon");
    command.args(["--foreground", "--config-dir"]).arg(&config);
    let running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    until("Transmission to verify", || {
        remote(control, "-l").contains("100%")
    });
    (running, port, control)
}

/// Returns what `transmission-remote` prints.
pub(crate) fn remote(control: u16, option: &str) -> String {
    let mut command = Command::new("transmission-remote");
    command.args([&format!("127.0.0.1:{control}"), "-t1", option]);
    run(&mut command).1
}

/// A command for aria2 that reaches nothing but 127.0.0.1.
pub(crate) fn aria2(folder: &Path, torrent: &Path, port: u16, options: &[&str]) -> Command {
    let mut command = Command::new("aria2c");
    command.args(["--no-conf", "--interface=127.0.0.1", "--disable-ipv6"]);
    command.args([
        "--enable-dht=false",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
    ]);
    command.args([
        "--enable-peer-exchange=false",
        "--quiet",
        "--summary-interval=0",
    ]);
    command.args(["--file-allocation=none", &format!("--listen-port={port}")]);
    command.arg("--dir").arg(folder).args(options).arg(torrent);
    command
}

/// Starts aria2 as a seed of the file in a folder. Returns it and its port.
pub(crate) fn aria2_seed(folder: &Folder, torrent: &Path) -> (Running, u16) {
    let port = free_port();
    // So slow that Transmission has something to send too.
    let options = [
        "--check-integrity=true",
        "--seed-ratio=0",
        "--max-upload-limit=5M",
    ];
    let running = Running::start(&mut aria2(&folder.0, torrent, port, &options));
    until("aria2 to listen", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    (running, port)
}

/// The example, with its arguments.
pub(crate) fn example() -> Command {
    Command::new(env!("CARGO_BIN_EXE_torrent"))
}
