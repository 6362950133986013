use std::env::{self, consts};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How long an example may take. It is built before.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running example. It is killed when this is dropped.
pub(super) struct Process {
    child: Child,
    /// The lines of both output streams.
    lines: Receiver<String>,
}

impl Process {
    /// Starts an example. Its input is empty and ends with `end`.
    pub(super) fn start(example: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(executable(example))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let (sender, lines) = mpsc::channel();
        forward(child.stdout.take().expect("a pipe"), sender.clone());
        forward(child.stderr.take().expect("a pipe"), sender);
        Self { child, lines }
    }

    /// Waits for a line with this text, and returns it.
    #[track_caller]
    pub(super) fn line(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line with {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Returns the address at the end of the next line that has one.
    #[track_caller]
    pub(super) fn address(&mut self) -> String {
        let line = self.line("on 127.0.0.1:");
        line.rsplit(' ').next().expect("an address").to_owned()
    }

    /// Waits for the end. Returns the exit code and what was printed.
    #[track_caller]
    pub(super) fn end(mut self) -> (Option<i32>, String) {
        drop(self.child.stdin.take());
        let end = Instant::now() + PATIENCE;
        let mut output = String::new();
        // Both streams end with the process.
        while let Ok(line) = self
            .lines
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            output.push_str(&line);
            output.push('\n');
        }
        assert!(Instant::now() < end, "it runs on: {output}");
        (self.child.wait().expect("a child").code(), output)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cargo puts examples beside the folder of the test executables.
fn executable(example: &str) -> PathBuf {
    let test = env::current_exe().expect("a path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let path = profile
        .join("examples")
        .join(format!("{example}{}", consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "no {}: run `cargo build --examples`",
        path.display()
    );
    path
}

fn forward(stream: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        let all = BufReader::new(stream).lines().map_while(Result::ok);
        all.for_each(|line| drop(lines.send(line)));
    });
}
