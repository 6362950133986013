//! Programs of others, for tests that run them.

use std::env;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::PATIENCE;

/// Returns the path of a program. Returns `None` if it is not installed, after it
/// has said so.
///
/// # Panics
///
/// With the environment variable `CI`, if the program is not installed.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&paths)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        assert!(env::var_os("CI").is_none(), "{program} is not installed");
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

/// Returns a TCP port that was free. Another process can take it before it is
/// used.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    listener.local_addr().expect("an address").port()
}

/// Runs a program to its end. Returns how it has ended, and what it has printed. A
/// program that runs too long is killed.
///
/// # Panics
///
/// If the program runs longer than [`PATIENCE`].
#[track_caller]
pub fn run(command: &mut Command) -> (ExitStatus, String) {
    let mut running = Running::start(command.stdout(Stdio::piped()));
    let mut stdout = running.0.stdout.take().expect("a pipe");
    let (sender, printed) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.read_to_end(&mut bytes);
        // The test may have ended.
        let _ = sender.send(read.map(|_| bytes));
    });
    let Ok(bytes) = printed.recv_timeout(PATIENCE) else {
        panic!("{command:?} runs too long");
    };
    let text = String::from_utf8_lossy(&bytes.expect("a pipe")).into_owned();
    (running.0.wait().expect("a child"), text)
}

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    /// Starts a program.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the program starts"))
    }

    /// Returns the CPU time in seconds that the program has used until now.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.0.id());
        let stat = std::fs::read_to_string(path).expect("proc(5)");
        // The name of the program, in parentheses, can have spaces. utime and
        // stime are fields 14 and 15 of proc(5), in ticks of 10 ms.
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        let ticks = fields.split(' ').skip(11).take(2);
        let ticks = ticks.map(|field| field.parse::<u32>().expect("a number"));
        f64::from(ticks.sum::<u32>()) / 100.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
