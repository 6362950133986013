//! The file transfer example between real processes: that files arrive whole, and what happens when one side dies or
//! lies.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::id;
use std::thread;
use std::time::{Duration, Instant};

use process::{PATIENCE, Process};

/// FETCH in its frame, as the head of the example has it.
const FETCH: [u8; 6] = [0, 0, 0, 2, 1, 1];

/// The length of an OFFER in its frame.
const OFFER_LEN: usize = 4 + 1 + 8;

/// The size of a file that cannot be transferred before the test has done something about it.
const HUGE: u64 = 64 << 30;

/// What has arrived of it then, at least.
const PART_MIN: u64 = 1 << 20;

/// A directory that is removed with all that is in it at the end of the test, whichever end that is.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        let path = self.0.join(name);
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    /// Everything in it, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a directory");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// A file of cheap pseudo-random bytes (SplitMix64), so that no two chunks are alike.
    fn random_file(&self, name: &str, len: u64) -> String {
        let path = self.path(name);
        let mut file = BufWriter::new(File::create(&path).expect("a file"));
        let mut state = len;
        for _ in 0..len.div_ceil(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            file.write_all(&mixed.to_le_bytes()).expect("room");
        }
        let file = file.into_inner().expect("room");
        file.set_len(len).expect("a length");
        path
    }

    /// A file of zeros that takes no room on the disk.
    fn huge_file(&self, name: &str) -> String {
        let path = self.path(name);
        let file = File::create(&path).expect("a file");
        file.set_len(HUGE).expect("a file system with sparse files");
        path
    }

    /// Waits until a part of `copy` has arrived.
    #[track_caller]
    fn wait_for_part(&self, client: &Process) {
        let part = self.path(&format!(".copy.{}.part", client.id()));
        let end = Instant::now() + PATIENCE;
        while fs::metadata(&part).map_or(0, |part| part.len()) < PART_MIN {
            assert!(Instant::now() < end, "nothing arrives");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("removing {}: {error}", self.0.display());
        }
    }
}

/// A server for the file, and its address.
fn serve(path: &str) -> (Process, String) {
    let mut server = Process::start("file_transfer", &["serve", "127.0.0.1:0", path]);
    let addr = server.expect_address();
    (server, addr)
}

fn fetch(addr: &str, destination: &str) -> Process {
    Process::start("file_transfer", &["fetch", addr, destination])
}

#[track_caller]
fn assert_fetched(addr: &str, source: &str, destination: &str) {
    let (code, output) = fetch(addr, destination).end();
    assert_eq!(code, Some(0), "{output}");
    assert_same(source, destination);
}

/// Compares two files a piece at a time.
#[track_caller]
fn assert_same(source: &str, copy: &str) {
    const PIECE: u64 = 1 << 20;
    let open = |path| File::open(path).expect("a file");
    let (mut source, mut copy) = (open(source), open(copy));
    let (mut expected, mut actual) = (Vec::new(), Vec::new());
    for piece in 0.. {
        expected.clear();
        actual.clear();
        let read = |file: &mut File, into| file.take(PIECE).read_to_end(into).expect("bytes");
        read(&mut source, &mut expected);
        read(&mut copy, &mut actual);
        assert!(expected == actual, "piece {piece} of {PIECE} bytes differs");
        if expected.is_empty() {
            return;
        }
    }
}

/// A client of the test's own.
fn connect(addr: &str) -> TcpStream {
    let client = TcpStream::connect(addr).expect("a connection");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client
}

/// A client that asks, sees the offer, and reads no further.
fn stalled_client(addr: &str) -> TcpStream {
    let mut client = connect(addr);
    client.write_all(&FETCH).expect("a question");
    client.read_exact(&mut [0; OFFER_LEN]).expect("an offer");
    client
}

/// Reads until the server has closed or reset the connection.
#[track_caller]
fn wait_for_end(client: TcpStream) {
    let end = io::copy(&mut &client, &mut io::sink());
    let timed_out = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
    let kind = end.map_err(|error| error.kind()).err();
    assert!(!kind.is_some_and(|kind| timed_out.contains(&kind)));
}

#[test]
fn a_file_of_200_megabytes_arrives_as_it_is() {
    let scratch = Scratch::new("large");
    let source = scratch.random_file("source", 200_000_001);
    let (mut server, addr) = serve(&source);
    assert_fetched(&addr, &source, &scratch.path("copy"));
    assert_eq!(scratch.names(), ["copy", "source"]);
    assert!(server.is_running());
}

#[test]
fn files_of_awkward_lengths_arrive_as_they_are_and_replace_older_ones() {
    const CHUNK: u64 = 128 * 1024;
    let scratch = Scratch::new("lengths");
    let copy = scratch.random_file("copy", 77);
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK] {
        let source = scratch.random_file("source", len);
        let (_server, addr) = serve(&source);
        assert_fetched(&addr, &source, &copy);
    }
    assert_eq!(scratch.names(), ["copy", "source"]);
}

#[test]
fn a_server_killed_in_the_middle_is_an_error_and_leaves_no_file() {
    let scratch = Scratch::new("killed");
    let (server, addr) = serve(&scratch.huge_file("source"));
    let client = fetch(&addr, &scratch.path("copy"));
    scratch.wait_for_part(&client);
    drop(server);

    let (code, output) = client.end();
    assert_eq!(code, Some(1), "{output}");
    let (_, rest) = output
        .split_once("file_transfer: the server went away after ")
        .unwrap_or_else(|| panic!("{output}"));
    let (received, rest) = rest.split_once(" of ").expect("X of Y");
    let received: u64 = received.parse().expect("a number");
    assert!((PART_MIN..HUGE).contains(&received), "{output}");
    assert!(rest.starts_with(&format!("{HUGE} bytes: ")), "{output}");
    assert_eq!(scratch.names(), ["source"]);
}

#[test]
fn a_server_goes_on_serving_while_other_clients_stall_vanish_and_talk_nonsense() {
    let scratch = Scratch::new("others");
    let source = scratch.random_file("source", 20_000_000);
    let (mut server, addr) = serve(&source);

    let _stalled = stalled_client(&addr);
    let _silent = connect(&addr);
    // What this one has not read makes its end a reset.
    drop(stalled_client(&addr));
    // This one ends in the middle of a question.
    let mut client = connect(&addr);
    client.write_all(&FETCH[..5]).expect("most of a question");
    drop(client);
    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0, 0, 0, 0],
        &[0, 0, 0, 2, 1, 99],
        &[FETCH, FETCH].concat(),
    ] {
        let mut client = connect(&addr);
        client.write_all(nonsense).expect("a question");
        wait_for_end(client);
    }
    assert_fetched(&addr, &source, &scratch.path("copy"));
    assert!(server.is_running());
}

#[test]
#[cfg(target_os = "linux")]
fn clients_that_do_not_read_cost_the_server_no_more_than_their_watermark() {
    const CLIENTS: usize = 32;
    let scratch = Scratch::new("memory");
    let source = scratch.random_file("source", 20_000_000);
    let (server, addr) = serve(&source);
    // Twenty megabytes each, if the server queued all it has.
    let stalled: Vec<TcpStream> = (0..CLIENTS).map(|_| stalled_client(&addr)).collect();
    assert_fetched(&addr, &source, &scratch.path("copy"));

    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: usize = kib.expect("a peak").parse().expect("a number");
    // Half a mebibyte each, and as much again for everything else there is in a process.
    assert!(kib < CLIENTS * 1024, "{kib} KiB at the peak");
    drop(stalled);
}

#[test]
fn a_file_that_shrinks_under_way_or_is_gone_is_refused_and_leaves_no_copy() {
    let scratch = Scratch::new("shrinks");
    let source = scratch.huge_file("source");
    let (mut server, addr) = serve(&source);
    let client = fetch(&addr, &scratch.path("copy"));
    scratch.wait_for_part(&client);
    let file = File::options().write(true).open(&source).expect("a file");
    file.set_len(0).expect("a length");
    let (code, output) = client.end();
    assert_eq!(code, Some(1), "{output}");
    let refusal = "file_transfer: the server says: the file cannot be read: ";
    assert_eq!(output, format!("{refusal}unexpected end of file"));
    assert_eq!(scratch.names(), ["source"]);

    fs::remove_file(&source).expect("nobody needs the file");
    let (code, output) = fetch(&addr, &scratch.path("copy")).end();
    assert_eq!(code, Some(1), "{output}");
    assert_eq!(output, format!("{refusal}entity not found"));
    assert!(scratch.names().is_empty());
    assert!(server.is_running());
}

/// Waits for a client.
#[track_caller]
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("a mode");
    let end = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).expect("a mode");
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                return stream;
            }
            Err(error) => assert!(Instant::now() < end, "no client: {error}"),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// A message in its frame.
fn frame(kind: u8, fields: &[u8]) -> Vec<u8> {
    let len = u32::try_from(1 + fields.len()).expect("a short message");
    [&len.to_be_bytes(), &[kind][..], fields].concat()
}

fn offer(size: u64) -> Vec<u8> {
    frame(2, &size.to_be_bytes())
}

#[test]
fn a_server_that_lies_is_found_out_and_leaves_no_file() {
    let too_long = [0, 2, 0, 2, 3];
    let lies = [
        (vec![], "went away without an offer: "),
        (vec![0; 4], "sent nothing"),
        (
            too_long.to_vec(),
            "a message of 131074 bytes where 131073 are allowed",
        ),
        (frame(3, b"early"), "type 3 out of turn"),
        (frame(99, b""), "type 99 out of turn"),
        (frame(2, b"short"), "offer is malformed"),
        (offer(u64::MAX), "too much"),
        (frame(5, b"\x1b[31mno"), "the server says: [31mno"),
        ([offer(10), offer(10)].concat(), "type 2 out of turn"),
        (
            [offer(10), frame(3, b"eleven byte")].concat(),
            "11 bytes after 0 of 10",
        ),
        ([offer(10), frame(3, b"")].concat(), "0 bytes after 0 of 10"),
        (
            [offer(10), frame(3, b"part")].concat(),
            "went away after 4 of 10 bytes: ",
        ),
        (
            [offer(10), frame(3, b"part"), frame(4, &[0; 32])].concat(),
            "ended after 4 of 10",
        ),
        (
            [offer(4), frame(3, b"part"), frame(4, &[0; 32])].concat(),
            "SHA-256",
        ),
        (
            [offer(4), frame(3, b"part"), frame(4, b"")].concat(),
            "SHA-256",
        ),
    ];
    let scratch = Scratch::new("lies");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address").to_string();
    for (lie, found_out) in lies {
        let client = fetch(&addr, &scratch.path("copy"));
        let mut stream = accept(&listener);
        stream
            .read_exact(&mut [0; FETCH.len()])
            .expect("a question");
        stream.write_all(&lie).expect("a client");
        drop(stream);
        let (code, output) = client.end();
        assert_eq!(code, Some(1), "{output}");
        assert!(output.contains(found_out), "{found_out:?}: {output:?}");
        assert!(scratch.names().is_empty(), "{found_out:?}");
    }
}

/// The example in processes of its own.
mod process {
    use std::env::{self, consts};
    use std::io::{BufRead, BufReader, Read};
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
        lines: Receiver<String>,
        /// What it has written so far, on whichever stream.
        seen: Vec<String>,
    }

    impl Process {
        pub(crate) fn start(example: &str, arguments: &[&str]) -> Self {
            let mut child = Command::new(path(example))
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the example starts");
            let (sender, lines) = mpsc::channel();
            forward(child.stdout.take().expect("a pipe"), sender.clone());
            forward(child.stderr.take().expect("a pipe"), sender);
            Self {
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

        pub(crate) fn id(&self) -> u32 {
            self.child.id()
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
}
