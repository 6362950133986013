//! The examples, run as a newcomer would: in processes of their own, by what they print and how they exit.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use process::{PATIENCE, Process};

#[test]
fn quickstart_checks_a_million_answers_and_ends_by_itself() {
    let (code, output) = Process::start("quickstart", &[]).end();
    assert_eq!(code, Some(0), "{output}");
    for line in [
        "1000000 messages of 32 bytes sent",
        "1000000 answers received, all right and in order",
        "questions and answers a second",
    ] {
        assert!(output.contains(line), "{output}");
    }
}

#[test]
fn a_rumour_reaches_every_node_of_the_mesh_once() {
    let (code, output) = Process::start("mesh", &[]).end();
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("8 nodes, 28 connections"), "{output}");
    for node in 1..8 {
        let heard = format!("node {node} hears it from node ");
        assert_eq!(output.matches(&heard).count(), 1, "{output}");
    }
    assert!(output.contains("all 8 nodes have heard it"), "{output}");
}

#[test]
fn everybody_hears_everybody_in_a_room_of_three_shards() {
    let (code, output) = Process::start("shards", &["--shards", "3"]).end();
    assert_eq!(code, Some(0), "{output}");
    let expected = "people on each shard: [3, 3, 2]
8 lines were said, and heard 56 times";
    assert_eq!(output.trim_end(), expected);
}

#[test]
fn a_rumour_takes_a_line_of_nodes_hop_by_hop() {
    let arguments = ["--nodes", "5", "--topology", "line"];
    let (code, output) = Process::start("mesh", &arguments).end();
    assert_eq!(code, Some(0), "{output}");
    let expected = "5 nodes, 4 connections
node 0 starts a rumour
node 1 hears it from node 0, hops: 1
node 2 hears it from node 1, hops: 2
node 3 hears it from node 2, hops: 3
node 4 hears it from node 3, hops: 4
all 5 nodes have heard it, hops at most: 4";
    assert_eq!(output, expected);
}

#[test]
fn a_rumour_reaches_every_node_of_every_topology() {
    for topology in ["ring", "star", "tree", "grid", "random"] {
        let (code, output) = Process::start("mesh", &["--topology", topology]).end();
        assert_eq!(code, Some(0), "{topology}: {output}");
        assert!(output.contains("all 8 nodes have heard it"), "{output}");
    }
}

#[cfg(feature = "sim")]
#[test]
fn a_simulated_rumour_crosses_the_cut_once_it_has_healed_and_the_same_way_each_time() {
    let run = || {
        let arguments = ["--nodes", "100", "--seed", "4"];
        let (code, output) = Process::start("simulated_gossip", &arguments).end();
        assert_eq!(code, Some(0), "{output}");
        let end = "all 100 nodes have heard it\nvirtual time 2";
        assert!(output.contains(end), "{output}");
        // How long it took is all that differs.
        let (same, _) = output.split_once(", real time ").expect("a real time");
        same.to_owned()
    };
    let output = run();
    let (cut, healed) = output
        .split_once("         the cut heals\n")
        .expect("it heals");
    let is_kept_out = |line: &str| line.ends_with("   0");
    assert!(cut.lines().skip(2).all(is_kept_out), "{output}");
    // Not all at once: beside the last two lines, several rows.
    assert!(healed.lines().count() > 6, "{output}");
    assert_eq!(run(), output);
}

#[test]
fn the_echo_client_gets_back_its_arguments_or_its_input() {
    let mut server = Process::start("echo", &["server", "127.0.0.1:0"]);
    let addr = server.expect_address();

    let texts = Process::start("echo", &["client", &addr, "some text", "", "and more"]);
    assert_eq!(texts.end(), (Some(0), "some text\n\nand more".to_owned()));

    let mut lines = Process::start("echo", &["client", &addr]);
    let long = "long ".repeat(100_000);
    for line in ["first", "second", &long] {
        lines.write(&format!("{line}\n"));
        assert_eq!(lines.expect(line), line);
    }
    lines.close_input();
    let (code, output) = lines.end();
    assert_eq!(code, Some(0), "{output}");
    assert!(server.is_running());
}

#[test]
fn an_echo_client_without_a_server_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    drop(listener);
    // In the words of the system.
    let refusal = TcpStream::connect(&addr).unwrap_err();
    let (code, output) = Process::start("echo", &["client", &addr, "text"]).end();
    assert_eq!(code, Some(1), "{output}");
    assert_eq!(output, format!("echo: connecting to {addr}: {refusal}"));
}

#[test]
fn mistaken_arguments_are_explained() {
    for (example, arguments, explanation) in [
        ("echo", &["client", "nowhere"][..], "nowhere: invalid"),
        ("echo", &[][..], "usage: echo server"),
        ("chat", &["host", "127.0.0.1:0"][..], "usage: chat host"),
        ("chat", &["join", "127.0.0.1:1", "\t"][..], "a name has"),
        ("mesh", &["--nodes", "1"][..], "at least two nodes"),
        ("mesh", &["--shape", "ring"][..], "--shape"),
        ("mesh", &["--topology", "blob"][..], "usage: mesh"),
    ] {
        let (code, output) = Process::start(example, arguments).end();
        assert_eq!(code, Some(1), "{example} {arguments:?}: {output}");
        assert!(output.contains(explanation), "{output}");
    }
}

/// A host and its address.
fn chat_host(name: &str) -> (Process, String) {
    let mut host = Process::start("chat", &["host", "127.0.0.1:0", name]);
    let addr = host.expect_address();
    (host, addr)
}

fn chat_guest(addr: &str, name: &str) -> Process {
    let mut guest = Process::start("chat", &["join", addr, name]);
    guest.expect(&format!("* welcome, {name}"));
    guest
}

#[test]
fn three_people_chat_and_everybody_sees_everything() {
    let (mut alice, addr) = chat_host("alice");
    let mut bob = chat_guest(&addr, "bob");
    alice.expect("* bob joins");
    let mut carol = chat_guest(&addr, "carol");
    alice.expect("* carol joins");
    bob.expect("* carol joins");

    alice.write("from the host\n");
    bob.expect("<alice> from the host");
    carol.expect("<alice> from the host");
    bob.write("from a guest\n");
    alice.expect("<bob> from a guest");
    carol.expect("<bob> from a guest");

    carol.write("last words\n/quit\n");
    let (code, output) = carol.end();
    assert_eq!(code, Some(0), "{output}");
    for person in [&mut alice, &mut bob] {
        person.expect("<carol> last words");
        person.expect("* carol leaves");
    }
    bob.close_input();
    let (code, output) = bob.end();
    assert_eq!(code, Some(0), "{output}");
    assert!(!output.contains("<bob>"), "told its own words: {output}");
    alice.expect("* bob leaves");
    alice.close_input();
    let (code, output) = alice.end();
    assert_eq!(code, Some(0), "{output}");
}

#[test]
fn everything_piped_into_a_chat_is_said_before_leaving() {
    let (mut host, addr) = chat_host("host");
    let mut guest = chat_guest(&addr, "guest");
    let text: String = (0..5000).map(|line| format!("line {line}\n")).collect();
    guest.write(&text);
    guest.close_input();
    for line in 0..5000 {
        assert_eq!(host.expect("<guest>"), format!("<guest> line {line}"));
    }
    host.expect("* guest leaves");
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn a_hostile_guest_neither_fools_nor_hurts_a_chat() {
    let (mut host, addr) = chat_host("host");
    let mut guest = chat_guest(&addr, "guest");
    host.expect("* guest joins");

    let mut hostile = TcpStream::connect(&addr).unwrap();
    hostile.set_read_timeout(Some(PATIENCE)).unwrap();
    hostile.set_write_timeout(Some(PATIENCE)).unwrap();
    let name = format!("\x1b[2J<host> e{}\n", "v".repeat(100));
    hostile.write_all(name.as_bytes()).unwrap();
    let name = &host.expect("joins")["* ".len()..];
    let name = name.strip_suffix(" joins").unwrap().to_owned();
    assert_eq!(name, format!("2Jhoste{}", "v".repeat(17)));
    hostile
        .write_all(b"\x1b]0;owned\x07 \xff\xfe text\n")
        .unwrap();
    let said = guest.expect(&format!("<{name}> "));
    assert_eq!(said, format!("<{name}> ]0;owned \u{fffd}\u{fffd} text"));

    // A line without an end is cut off, together with who sends it.
    let endless = [b'x'; 100_000];
    let _ = hostile.write_all(&endless);
    host.expect(&format!("* {name} leaves"));
    let mut rest = Vec::new();
    let _ = hostile.read_to_end(&mut rest);

    guest.write("still here\n");
    host.expect("<guest> still here");
}

#[test]
fn a_guest_who_does_not_read_is_not_waited_for() {
    let (mut host, addr) = chat_host("host");
    let connect = |name: &str| {
        let mut guest = TcpStream::connect(&addr).unwrap();
        guest.set_write_timeout(Some(PATIENCE)).unwrap();
        guest.write_all(format!("{name}\n").as_bytes()).unwrap();
        guest
    };
    let _silent = connect("silent");
    host.expect("* silent joins");
    // More than two sockets and the host's queue can hold.
    let mut loud = connect("loud");
    let text = format!("{}\n", "x".repeat(900)).repeat(1000);
    for _ in 0..20 {
        loud.write_all(text.as_bytes()).unwrap();
    }
    host.expect("* silent leaves");
    loud.write_all(b"still here\n").unwrap();
    host.expect("<loud> still here");
}

#[test]
fn a_name_is_given_once() {
    let (_host, addr) = chat_host("alice");
    for taken in ["alice", "bob"] {
        let _bob = (taken == "bob").then(|| chat_guest(&addr, "bob"));
        let (code, output) = Process::start("chat", &["join", &addr, taken]).end();
        assert_eq!(code, Some(1), "{output}");
        let expected = "* somebody has this name already";
        assert!(output.contains(expected), "{output}");
    }
}

#[test]
fn a_guest_whose_host_dies_is_told_and_fails() {
    let (host, addr) = chat_host("host");
    let guest = chat_guest(&addr, "guest");
    drop(host);
    let (code, output) = guest.end();
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("chat: the chat is over: "), "{output}");
}

/// The examples in processes of their own.
mod process {
    use std::env::{self, consts};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc::{self, Receiver, Sender};
    use std::thread;
    use std::time::{Duration, Instant};

    /// How long something may take before the test fails. Far more than needed: these machines are shared.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

    /// A running example. It is killed at the end of the test, whichever end that is.
    pub(crate) struct Process {
        child: Child,
        /// What it is yet to be told; dropped, its input ends.
        input: Option<Sender<String>>,
        lines: Receiver<String>,
        /// What it has written so far, on whichever stream.
        seen: Vec<String>,
    }

    impl Process {
        pub(crate) fn start(example: &str, arguments: &[&str]) -> Self {
            let mut child = Command::new(path(example))
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the example starts");
            let (sender, lines) = mpsc::channel();
            forward(child.stdout.take().expect("a pipe"), sender.clone());
            forward(child.stderr.take().expect("a pipe"), sender);
            let input = feed(child.stdin.take().expect("a pipe"));
            Self {
                input: Some(input),
                child,
                lines,
                seen: Vec::new(),
            }
        }

        /// Waits for a line that contains `text`.
        #[track_caller]
        pub(crate) fn expect(&mut self, text: &str) -> String {
            let end = Instant::now() + PATIENCE;
            loop {
                let left = end.saturating_duration_since(Instant::now());
                let Ok(line) = self.lines.recv_timeout(left) else {
                    panic!("no line with {text:?}, but {:#?}", self.seen);
                };
                self.seen.push(line.clone());
                if line.contains(text) {
                    return line;
                }
            }
        }

        /// Waits for the line that ends with the address on which the example listens.
        #[track_caller]
        pub(crate) fn expect_address(&mut self) -> String {
            let line = self.expect("on 127.0.0.1:");
            line.rsplit(' ').next().expect("a last word").to_owned()
        }

        pub(crate) fn write(&mut self, text: &str) {
            if let Some(input) = &self.input {
                // If nobody takes it any more, what is expected of the example will not come.
                let _ = input.send(text.to_owned());
            }
        }

        pub(crate) fn close_input(&mut self) {
            self.input = None;
        }

        pub(crate) fn is_running(&mut self) -> bool {
            self.child.try_wait().expect("a child").is_none()
        }

        /// Waits for the end. Returns the exit code, `None` when it was killed, and all that was written.
        #[track_caller]
        pub(crate) fn end(mut self) -> (Option<i32>, String) {
            let end = Instant::now() + PATIENCE;
            while self.is_running() {
                assert!(Instant::now() < end, "it runs on: {:#?}", self.seen);
                thread::sleep(Duration::from_millis(5));
            }
            let left = end.saturating_duration_since(Instant::now());
            while let Ok(line) = self.lines.recv_timeout(left) {
                self.seen.push(line);
            }
            let status = self.child.try_wait().expect("a child");
            let code = status.and_then(|status| status.code());
            (code, self.seen.join("\n"))
        }
    }

    impl Drop for Process {
        fn drop(&mut self) {
            // Both fail if it has ended by itself, which is just as well.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// Cargo puts examples beside the directory of the test executables.
    fn path(example: &str) -> PathBuf {
        let test = env::current_exe().expect("a path");
        let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
        let path = profile
            .join("examples")
            .join(format!("{example}{}", consts::EXE_SUFFIX));
        let shown = path.display();
        assert!(path.exists(), "no {shown}: run `cargo build --examples`");
        path
    }

    /// Reads a stream line by line, so that the test can wait for a line with a bound.
    fn forward(stream: impl Read + Send + 'static, lines: Sender<String>) {
        thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { return };
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
    }

    /// Writes what it is told to a stream, so that the test does not wait for who should read it.
    fn feed(mut stream: impl Write + Send + 'static) -> Sender<String> {
        let (sender, texts) = mpsc::channel::<String>();
        thread::spawn(move || {
            for text in texts {
                if stream.write_all(text.as_bytes()).is_err() {
                    return;
                }
            }
        });
        sender
    }
}
