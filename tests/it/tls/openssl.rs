//! Connections with the programs of OpenSSL, version 3.
//!
//! The tests are skipped where `openssl` is not installed. If the environment
//! variable `CI` is set, they fail.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::{client, server};
use crate::util::program::{is_installed, skip};
use crate::util::raw::until_ended;
use crate::util::tls::{
    Authority, Credentials, EACH_VERSION, NAME, ONLY_12, ONLY_13, Versions, known_client_config,
    server_config, strict_server_config,
};
use crate::util::{PATIENCE, TestNode, listening, node, run_until};
use peerloop::framing::Framing;
use peerloop::session::Identity;
use peerloop::{Config, ConnId, DisconnectReason};

/// The programs of OpenSSL send and receive lines.
fn lines() -> Config {
    let mut config = Config::default();
    config.connection.framing = Framing::Delimited(b'\n');
    config
}

/// Certificates in files for OpenSSL: of an authority, a server and a client.
struct Files {
    dir: PathBuf,
    authority: Authority,
    own: Credentials,
    theirs: Credentials,
}

impl Files {
    /// Returns `None` if the test has to be skipped.
    fn new(test: &str) -> Option<Self> {
        if !is_installed("openssl", "version") {
            return skip("the program `openssl` is not installed");
        }
        // Another process may run the same test.
        let name = format!("{test}-{}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&dir).expect("a directory");
        let authority = Authority::new("the authority");
        let files = Self {
            dir,
            own: authority.issue(NAME),
            theirs: authority.issue("client.example"),
            authority,
        };
        fs::write(files.path("authority.pem"), files.authority.pem()).expect("a file");
        for (name, credentials) in [("own", &files.own), ("theirs", &files.theirs)] {
            let both = credentials.certificate_pem() + &credentials.key_pem();
            fs::write(files.path(&format!("{name}.pem")), both).expect("a file");
        }
        Some(files)
    }

    fn path(&self, name: &str) -> String {
        let path = self.dir.join(name);
        path.to_str().expect("a path in UTF-8").to_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn version(versions: Versions) -> &'static str {
    if versions == ONLY_12 {
        "-tls1_2"
    } else {
        "-tls1_3"
    }
}

/// A program of OpenSSL that runs.
struct Openssl {
    child: Child,
    stdin: Option<ChildStdin>,
    printed: Receiver<String>,
    /// All lines that were printed, on either stream.
    log: Vec<String>,
}

impl Openssl {
    fn new(args: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`openssl`");
        let (line_printed, printed) = channel();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("a pipe")),
            Box::new(child.stderr.take().expect("a pipe")),
        ];
        for stream in streams {
            let line_printed = line_printed.clone();
            thread::spawn(move || {
                let lines = BufReader::new(stream).lines();
                lines.map_while(Result::ok).for_each(|line| {
                    let _ = line_printed.send(line);
                });
            });
        }
        let stdin = child.stdin.take();
        Self {
            child,
            stdin,
            printed,
            log: Vec::new(),
        }
    }

    /// `s_client`, which verifies the server and has a certificate.
    fn client(addr: SocketAddr, files: &Files, versions: Versions, more: &[&str]) -> Self {
        let (addr, authority) = (addr.to_string(), files.path("authority.pem"));
        let theirs = files.path("theirs.pem");
        let mut args = vec!["s_client", "-connect", &addr, "-CAfile", &authority];
        args.extend([
            "-cert",
            &theirs,
            "-servername",
            NAME,
            "-verify_hostname",
            NAME,
        ]);
        args.extend(["-verify_return_error", version(versions)]);
        args.extend(more);
        Self::new(&args)
    }

    /// `s_server`, which verifies the client and answers every line with its
    /// reverse; and its address.
    fn server(files: &Files, versions: Versions, more: &[&str]) -> (Self, SocketAddr) {
        let (own, authority) = (files.path("own.pem"), files.path("authority.pem"));
        let mut args = vec!["s_server", "-accept", "127.0.0.1:0", version(versions)];
        args.extend(["-cert", &own, "-CAfile", &authority, "-Verify", "1"]);
        args.extend(["-verify_return_error", "-rev"]);
        args.extend(more);
        let mut server = Self::new(&args);
        loop {
            let line = server.printed.recv_timeout(PATIENCE).expect("an address");
            if let Some(addr) = line.strip_prefix("ACCEPT ") {
                let addr = addr.parse().expect("an address");
                return (server, addr);
            }
            server.log.push(line);
        }
    }

    fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("a pipe");
        stdin.write_all(text.as_bytes()).expect("a reader");
    }

    /// The number of printed lines with this part.
    fn count(&mut self, part: &str) -> usize {
        self.log.extend(self.printed.try_iter());
        self.log.iter().filter(|line| line.contains(part)).count()
    }

    fn has_printed(&mut self, part: &str) -> bool {
        self.count(part) > 0
    }

    /// Runs the node until the program has exited. Returns whether it succeeded.
    fn finish(&mut self, node: &mut TestNode) -> bool {
        let mut status = None;
        run_until([node], |_| {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        self.log.extend(self.printed.iter());
        status.expect("an exit status").success()
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.log.extend(self.printed.iter());
            eprintln!("openssl printed: {:#?}", self.log);
        }
    }
}

fn identity(node: &mut TestNode, conn: ConnId) -> Identity {
    let connection = node.net().connection(conn).expect("an open connection");
    connection.identity().expect("an identity").clone()
}

#[test]
fn client_is_answered_until_the_node_closes() {
    for versions in EACH_VERSION {
        let Some(files) = Files::new(&format!("client{}", version(versions))) else {
            return;
        };
        let mut config = strict_server_config(&files.authority, &files.own, versions);
        config.alpn_protocols = vec![b"lines".to_vec()];
        let (mut node, addr) = listening(lines(), server(config));
        let more = ["-quiet", "-no_ign_eof", "-alpn", "other,lines"];
        let mut client = Openssl::client(addr, &files, versions, &more);
        let sent: Vec<String> = (0..16).map(|n| format!("{n}").repeat(1 << 15)).collect();
        let (mut stdin, text) = (client.stdin.take().expect("a pipe"), sent.join("\n") + "\n");
        let writing = thread::spawn(move || stdin.write_all(text.as_bytes()).map(|()| stdin));
        run_until([&mut node], |_| {
            client.log.extend(client.printed.try_iter());
            sent.iter().all(|line| client.log.contains(line))
        });
        let stdin = writing.join().expect("no panic").expect("a reader");

        let conn = node.handler().connected()[0];
        let identity = identity(&mut node, conn);
        assert_eq!(identity.requested_server_name.as_deref(), Some(NAME));
        assert_eq!(identity.protocol.as_deref(), Some(&b"lines"[..]));
        assert_eq!(identity.public_key, Some(files.theirs.public_key()));

        node.net().close(conn);
        assert!(client.finish(&mut node), "{:?}", client.log);
        assert!(!client.has_printed("unexpected eof"));
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
        drop(stdin);
    }
}

#[test]
fn client_may_request_new_keys() {
    let Some(files) = Files::new("keys") else {
        return;
    };
    let config = server_config(&files.own, ONLY_13);
    let (mut node, addr) = listening(lines(), server(config));
    let mut client = Openssl::client(addr, &files, ONLY_13, &[]);
    client.write("the first\n");
    run_until([&mut node], |_| client.has_printed("the first"));
    for (request, line) in ["the second", "the third"].into_iter().enumerate() {
        // A command is one read of the program. The next one waits for its effect.
        client.write("K\n");
        run_until([&mut node], |_| client.count("KEYUPDATE") == request + 1);
        client.write(&format!("{line}\n"));
        run_until([&mut node], |_| client.has_printed(line));
    }
}

#[test]
fn server_is_identified_and_answers() {
    for versions in EACH_VERSION {
        let Some(files) = Files::new(&format!("server{}", version(versions))) else {
            return;
        };
        let mut config = known_client_config(&files.authority, versions, &files.theirs);
        config.alpn_protocols = vec![b"lines".to_vec()];
        let (mut server, addr) = Openssl::server(&files, versions, &["-alpn", "lines"]);
        let mut node = node(lines(), client(config));
        let conn = node.net().connect(addr).expect("a connect");
        run_until([&mut node], |[node]| node.handler().connected() == [conn]);

        let identity = identity(&mut node, conn);
        assert_eq!(identity.requested_server_name.as_deref(), Some(NAME));
        assert_eq!(identity.protocol.as_deref(), Some(&b"lines"[..]));
        assert_eq!(identity.public_key, Some(files.own.public_key()));
        assert_eq!(identity.certificates[0], files.own.chain()[0].to_vec());

        node.net().send(conn, b"drawer").expect("room");
        run_until([&mut node], |[node]| {
            node.handler().messages(conn) == [b"reward"]
        });
        run_until([&mut node], |_| server.has_printed("client.example"));
        // With `-rev` this line makes the program close the connection.
        node.net().send(conn, b"CLOSE").expect("room");
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
        run_until([&mut node], |_| server.has_printed("CONNECTION CLOSED"));
    }
}
