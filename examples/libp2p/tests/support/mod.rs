//! The program that is tested.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The bound of all waits.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The running program. It is killed when this is dropped.
pub struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// What it has printed.
    output: String,
}

impl Program {
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_libp2p"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("it is a pipe");
        Self {
            child,
            stdout: BufReader::new(stdout),
            output: String::new(),
        }
    }

    /// Reads a line, and returns it.
    pub fn line(&mut self) -> &str {
        let start = self.output.len();
        self.stdout.read_line(&mut self.output).expect("text");
        &self.output[start..]
    }

    /// Returns the address at which it listens, and its peer id.
    pub fn address(&mut self) -> (SocketAddr, String) {
        let line = self.line().trim_end();
        let rest = line.strip_prefix("listening on ").expect("an address");
        let (addr, id) = rest.split_once("/p2p/").expect("a peer id");
        (addr.parse().expect("an address"), id.to_owned())
    }

    /// Waits until it has ended. Returns all that it has printed.
    pub fn wait(mut self) -> (ExitStatus, String) {
        self.stdout.read_to_string(&mut self.output).expect("text");
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
