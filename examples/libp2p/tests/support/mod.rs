//! The program that is tested. Each test uses a part of this.
#![allow(dead_code)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The bound of all waits.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The running program. It is killed when this is dropped.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    /// Its output, as far as it was read.
    pub output: String,
}

impl Program {
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_libp2p"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("it is a pipe");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                // The test may have ended.
                let _ = sender.send(line.expect("text"));
            }
        });
        Self {
            child,
            lines,
            output: String::new(),
        }
    }

    /// Starts a host that listens. Returns its address and its peer id too.
    pub fn listen() -> (Self, SocketAddr, String) {
        let mut program = Self::start(&["listen", "127.0.0.1:0"]);
        program.wait_for("/p2p/");
        let line = program.output.trim_end();
        let rest = line.strip_prefix("listening on ").expect("an address");
        let (addr, id) = rest.split_once("/p2p/").expect("a peer id");
        let (addr, id) = (addr.parse().expect("an address"), id.to_owned());
        (program, addr, id)
    }

    /// Reads what it has printed. Returns whether this text is in it.
    pub fn has_printed(&mut self, text: &str) -> bool {
        for line in self.lines.try_iter() {
            self.output += &format!("{line}\n");
        }
        self.output.contains(text)
    }

    /// Waits until it has printed this text.
    pub fn wait_for(&mut self, text: &str) {
        while !self.output.contains(text) {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.output += &format!("{line}\n"),
                Err(error) => panic!("no {text}: {error}\n{}", self.output),
            }
        }
    }

    /// Waits until it has ended. Returns all that it has printed.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.output += &format!("{line}\n"),
                // The stream ends with the program.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it runs on:\n{}", self.output),
            }
        }
        let status = self.child.wait().expect("it ends");
        (status, std::mem::take(&mut self.output))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
