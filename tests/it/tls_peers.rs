//! TLS with others: the programs of OpenSSL as processes of their own, rustls on blocking sockets, and those who speak no
//! TLS at all.
//!
//! Tests that need the program `openssl`, version 3, are skipped where it is not
//! installed, and say so. If the environment variable `CI` is set, they fail.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::util::raw::{connect, until_ended};
use crate::util::tls::{
    Authority, Credentials, Failures, ONLY_12, ONLY_13, Versions, accepting_and_noting,
    client_config, connecting, known_client_config, server_config, server_name,
    strict_server_config,
};
use crate::util::{Event, PATIENCE, Recorder, TestNode, listening, node, run_until};
use peerloop::config::ConnectionConfig;
use peerloop::error::SessionError;
use peerloop::framing::Framing;
use peerloop::session::Identity;
use peerloop::tls::rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned,
};
use peerloop::{Config, ConnId, ConnectError, DisconnectReason};

const NAME: &str = "peer.example";

/// OpenSSL's programs speak in lines.
fn lines() -> Config {
    Config {
        connection: ConnectionConfig {
            framing: Framing::Delimited(b'\n'),
            ..Default::default()
        },
        ..Config::default()
    }
}

/// Certificates of an authority, in files for OpenSSL.
struct Files {
    dir: PathBuf,
    authority: Authority,
}

impl Files {
    /// Returns `None` if the test has to be skipped, because `openssl` is not
    /// installed.
    fn for_openssl(test: &str) -> Option<Self> {
        if !openssl_is_installed() {
            return skip("the program `openssl` is not installed");
        }
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&dir).expect("a directory");
        let files = Self {
            dir,
            authority: Authority::new("the authority"),
        };
        files.put("authority.pem", &files.authority.pem());
        Some(files)
    }

    /// Keeps a text in a file; its path.
    fn put(&self, name: &str, text: &str) -> String {
        fs::write(self.dir.join(name), text).expect("a file");
        self.path(name)
    }

    fn path(&self, name: &str) -> String {
        self.dir
            .join(name)
            .to_str()
            .expect("a path in UTF-8")
            .to_owned()
    }

    /// The arguments that show these credentials.
    fn shown(&self, name: &str, own: &Credentials) -> Vec<String> {
        let certificate = self.put(&format!("{name}.pem"), &own.certificate_pem());
        let key = self.put(&format!("{name}.key.pem"), &own.key_pem());
        vec!["-cert".into(), certificate, "-key".into(), key]
    }
}

fn openssl_is_installed() -> bool {
    let version = Command::new("openssl").arg("version").output();
    !version.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Says that the running test is skipped.
///
/// # Panics
///
/// If the environment variable `CI` is set.
fn skip<T>(reason: &str) -> Option<T> {
    assert!(env::var_os("CI").is_none(), "{reason}");
    let thread = thread::current();
    let test = thread.name().expect("the name of the test");
    // Without `eprintln!`, whose output is shown only when a test fails.
    let _ = writeln!(io::stderr(), "skipped {test}: {reason}");
    None
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

/// A program of OpenSSL at work.
struct Openssl {
    child: Child,
    stdin: Option<ChildStdin>,
    said: Receiver<String>,
    /// Everything it has said, on either stream.
    log: Vec<String>,
}

impl Openssl {
    fn new<S: AsRef<str>>(args: &[S]) -> Self {
        let args = args.iter().map(AsRef::as_ref);
        let mut child = Command::new("openssl")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`openssl` starts");
        let (said, hear) = channel();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("it is a pipe")),
            Box::new(child.stderr.take().expect("it is a pipe")),
        ];
        for stream in streams {
            let said = said.clone();
            thread::spawn(move || {
                let lines = BufReader::new(stream).lines();
                lines.map_while(Result::ok).for_each(|line| {
                    let _ = said.send(line);
                });
            });
        }
        let stdin = child.stdin.take();
        Self {
            child,
            stdin,
            said: hear,
            log: Vec::new(),
        }
    }

    /// `s_client`, connecting to a node, with its checks on.
    fn client(addr: SocketAddr, files: &Files, versions: Versions, more: &[&str]) -> Self {
        let (addr, authority) = (addr.to_string(), files.path("authority.pem"));
        let mut args = vec!["s_client", "-connect", &addr, "-CAfile", &authority];
        args.extend(["-servername", NAME, "-verify_hostname", NAME]);
        args.extend(["-verify_return_error", version(versions)]);
        args.extend(more);
        Self::new(&args)
    }

    /// `s_server`, which answers every line with its reverse; and its address.
    fn server(
        files: &Files,
        versions: Versions,
        own: &Credentials,
        more: &[&str],
    ) -> (Self, SocketAddr) {
        Self::obedient_server(files, versions, own, &[&["-rev"], more].concat())
    }

    /// `s_server`, which says what it is told to, and has commands.
    fn obedient_server(
        files: &Files,
        versions: Versions,
        own: &Credentials,
        more: &[&str],
    ) -> (Self, SocketAddr) {
        let shown = files.shown("server", own);
        let mut args = vec!["s_server", "-accept", "127.0.0.1:0", version(versions)];
        args.extend(shown.iter().map(String::as_str));
        args.extend(more);
        let mut server = Self::new(&args);
        let addr = loop {
            let line = server
                .said
                .recv_timeout(PATIENCE)
                .expect("it says where it listens");
            if let Some(addr) = line.strip_prefix("ACCEPT ") {
                break addr.parse().expect("an address");
            }
            server.log.push(line);
        };
        (server, addr)
    }

    fn say(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("it was not closed");
        stdin.write_all(text.as_bytes()).expect("it reads");
    }

    /// Whether it has said a line with this in it.
    fn has_said(&mut self, part: &str) -> bool {
        self.times_said(part) > 0
    }

    fn times_said(&mut self, part: &str) -> usize {
        self.log.extend(self.said.try_iter());
        self.log.iter().filter(|line| line.contains(part)).count()
    }

    /// Runs the node until the program has ended, and everything it said is there; whether it is content.
    fn finish(&mut self, node: &mut TestNode) -> bool {
        let mut status = None;
        run_until([node], |_| {
            status = self.child.try_wait().expect("it is a child");
            status.is_some()
        });
        self.log.extend(self.said.iter());
        status.expect("it has ended").success()
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.log.extend(self.said.iter());
            eprintln!("openssl said: {:#?}", self.log);
        }
    }
}

/// A node that answers by TLS.
fn serving(config: ServerConfig) -> (TestNode, SocketAddr, Failures) {
    let (sessions, failures) = accepting_and_noting(config);
    let recorder = Recorder {
        sessions,
        ..Recorder::echo()
    };
    let (node, addr) = listening(lines(), recorder);
    (node, addr, failures)
}

/// The handler was told of one failed handshake, with this error, and of nothing else.
#[track_caller]
fn assert_failed_once(node: &TestNode, expected: SessionError) {
    let events = &node.handler().events[..];
    let [Event::Start, Event::ConnectFailed(_, error)] = events else {
        panic!("not one failure: {events:?}");
    };
    assert_eq!(*error, ConnectError::Session(expected));
}

/// A node that connects by TLS.
fn connector(config: ClientConfig) -> TestNode {
    let recorder = Recorder {
        sessions: connecting(config, NAME),
        ..Recorder::default()
    };
    node(lines(), recorder)
}

/// What the handshake of a connection told about the peer.
fn identity(node: &mut TestNode, conn: ConnId) -> Identity {
    let connection = node.net().connection(conn).expect("it is connected");
    let identity = connection.identity();
    identity.expect("something is proved").clone()
}

mod openssl_client {
    use super::*;

    const QUIET: [&str; 2] = ["-quiet", "-no_ign_eof"];

    fn connected(node: &mut TestNode) -> ConnId {
        run_until([node], |[node]| !node.handler().connected().is_empty());
        node.handler().connected()[0]
    }

    fn is_answered_and_leaves(versions: Versions, test: &str) {
        let Some(files) = Files::for_openssl(test) else {
            return;
        };
        let mut config = server_config(&files.authority.issue(NAME), versions);
        config.alpn_protocols = vec![b"lines".to_vec()];
        let (mut node, addr, _) = serving(config);
        let alpn = [&QUIET[..], &["-alpn", "other,lines"]].concat();
        let mut client = Openssl::client(addr, &files, versions, &alpn);
        client.say("hello\n");
        run_until([&mut node], |_| client.has_said("hello"));

        let conn = connected(&mut node);
        let identity = identity(&mut node, conn);
        assert_eq!(identity.requested_server_name.as_deref(), Some(NAME));
        assert_eq!(identity.protocol.as_deref(), Some(&b"lines"[..]));

        client.stdin = None;
        assert!(client.finish(&mut node), "it has nothing to complain of");
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
    }

    #[test]
    fn is_answered_and_leaves_with_tls_1_2() {
        is_answered_and_leaves(ONLY_12, "client-12");
    }

    #[test]
    fn is_answered_and_leaves_with_tls_1_3() {
        is_answered_and_leaves(ONLY_13, "client-13");
    }

    #[test]
    fn gets_a_mebibyte_back() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("much{}", version(versions))) else {
                return;
            };
            let (mut node, addr, _) =
                serving(server_config(&files.authority.issue(NAME), versions));
            let mut client = Openssl::client(addr, &files, versions, &["-quiet"]);
            let sent: Vec<String> = (0..16).map(|n| format!("{n}").repeat(1 << 16)).collect();
            let (mut stdin, text) = (client.stdin.take().expect("a pipe"), sent.join("\n") + "\n");
            let saying = thread::spawn(move || stdin.write_all(text.as_bytes()));
            run_until([&mut node], |_| {
                client.log.extend(client.said.try_iter());
                sent.iter().all(|line| client.log.contains(line))
            });
            saying.join().expect("no panic").expect("it reads");
        }
    }

    #[test]
    fn is_told_when_the_node_closes() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("told{}", version(versions))) else {
                return;
            };
            let (mut node, addr, _) =
                serving(server_config(&files.authority.issue(NAME), versions));
            let mut client = Openssl::client(addr, &files, versions, &QUIET);
            client.say("hello\n");
            run_until([&mut node], |_| client.has_said("hello"));
            let conn = connected(&mut node);
            node.net().close(conn);
            assert!(
                client.finish(&mut node),
                "the close_notify came: {:?}",
                client.log
            );
            assert!(!client.has_said("unexpected eof"));
            assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
        }
    }

    #[test]
    fn that_is_killed_has_cut_its_stream_off() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("killed{}", version(versions))) else {
                return;
            };
            let (mut node, addr, _) =
                serving(server_config(&files.authority.issue(NAME), versions));
            let mut client = Openssl::client(addr, &files, versions, &QUIET);
            client.say("hello\n");
            run_until([&mut node], |_| client.has_said("hello"));
            let conn = connected(&mut node);
            client.child.kill().expect("it runs");
            let reason = until_ended(&mut node, conn);
            assert_eq!(reason, DisconnectReason::Session(SessionError::Truncated));
        }
    }

    #[test]
    fn proves_itself_with_its_certificate() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("guest{}", version(versions))) else {
                return;
            };
            let guest = files.authority.issue("guest.example");
            let own = files.authority.issue(NAME);
            let (mut node, addr, _) =
                serving(strict_server_config(&files.authority, &own, versions));
            let shown = files.shown("guest", &guest);
            let args: Vec<&str> = shown.iter().map(String::as_str).chain(QUIET).collect();
            let mut client = Openssl::client(addr, &files, versions, &args);
            client.say("hello\n");
            run_until([&mut node], |_| client.has_said("hello"));
            let conn = connected(&mut node);
            let identity = identity(&mut node, conn);
            assert_eq!(identity.public_key, Some(guest.public_key()));
        }
    }

    /// A client that must not get in: what the node says of it, and what it has to say itself.
    #[track_caller]
    fn stays_out(
        config: ServerConfig,
        files: &Files,
        versions: Versions,
        more: &[&str],
    ) -> (SessionError, Vec<String>) {
        let (mut node, addr, failures) = serving(config);
        let mut client = Openssl::client(addr, files, versions, more);
        run_until([&mut node], |_| {
            !failures.lock().expect("no panic").is_empty()
        });
        let content = client.finish(&mut node);
        assert!(!content, "it knows that it failed: {:?}", client.log);
        run_until([&mut node], |[node]| node.handler().events.len() > 1);
        assert_eq!(node.net().metrics().handshakes_failed, 1);
        let failures = failures.lock().expect("no panic").clone();
        assert_eq!(failures.len(), 1);
        assert_failed_once(&node, failures[0]);
        (failures[0], client.log.clone())
    }

    #[test]
    fn without_a_certificate_is_refused_where_one_is_asked_for() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("nobody{}", version(versions))) else {
                return;
            };
            let own = files.authority.issue(NAME);
            let config = strict_server_config(&files.authority, &own, versions);
            let (why, said) = stays_out(config, &files, versions, &QUIET);
            assert_eq!(why, SessionError::Refused("it has no certificate"));
            assert!(
                said.iter()
                    .any(|line| line.contains("certificate required")),
                "{said:?}"
            );
        }
    }

    #[test]
    fn of_another_authority_is_refused() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("stranger{}", version(versions))) else {
                return;
            };
            let own = files.authority.issue(NAME);
            let config = strict_server_config(&files.authority, &own, versions);
            let shown = files.shown(
                "stranger",
                &Authority::new("another").issue("guest.example"),
            );
            let args: Vec<&str> = shown.iter().map(String::as_str).chain(QUIET).collect();
            let (why, said) = stays_out(config, &files, versions, &args);
            let unknown = "its certificate is from an unknown authority";
            assert_eq!(why, SessionError::Refused(unknown));
            assert!(
                said.iter().any(|line| line.contains("unknown ca")),
                "{said:?}"
            );
        }
    }

    #[test]
    fn of_another_authority_refuses_the_node() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("other{}", version(versions))) else {
                return;
            };
            let config = server_config(&Authority::new("another").issue(NAME), versions);
            let (why, _) = stays_out(config, &files, versions, &QUIET);
            assert_eq!(why, SessionError::RefusedByPeer("unknown authority"));
        }
    }

    #[test]
    fn refuses_a_certificate_that_has_expired() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("expired{}", version(versions))) else {
                return;
            };
            let config = server_config(&files.authority.issue_expired(NAME), versions);
            let (why, _) = stays_out(config, &files, versions, &QUIET);
            assert_eq!(why, SessionError::RefusedByPeer("certificate expired"));
        }
    }

    #[test]
    fn refuses_a_certificate_for_another_name() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("name{}", version(versions))) else {
                return;
            };
            let config = server_config(&files.authority.issue("other.example"), versions);
            let (why, _) = stays_out(config, &files, versions, &QUIET);
            assert_eq!(why, SessionError::RefusedByPeer("bad certificate"));
        }
    }

    #[test]
    fn of_another_version_is_refused() {
        let Some(files) = Files::for_openssl("version") else {
            return;
        };
        let own = files.authority.issue(NAME);
        for (here, there) in [(ONLY_12, ONLY_13), (ONLY_13, ONLY_12)] {
            let (why, _) = stays_out(server_config(&own, here), &files, there, &QUIET);
            assert_eq!(why, SessionError::Refused("no TLS version in common"));
        }
    }

    /// The node says no, and the connection is as it was; it is OpenSSL that gives up then.
    #[test]
    fn that_wants_to_renegotiate_is_told_no() {
        let Some(files) = Files::for_openssl("renegotiation") else {
            return;
        };
        let (mut node, addr, failures) =
            serving(server_config(&files.authority.issue(NAME), ONLY_12));
        let mut client = Openssl::client(addr, &files, ONLY_12, &[]);
        client.say("hello\n");
        run_until([&mut node], |_| client.has_said("hello"));
        let conn = connected(&mut node);
        client.say("R\n");
        assert!(!client.finish(&mut node));
        assert!(client.has_said("RENEGOTIATING") && client.has_said("no renegotiation"));
        let given_up = SessionError::RefusedByPeer("handshake failure");
        assert_eq!(
            until_ended(&mut node, conn),
            DisconnectReason::Session(given_up)
        );
        assert_eq!(node.handler().messages(conn), [b"hello"]);
        assert_eq!(*failures.lock().expect("no panic"), [given_up]);
    }

    #[test]
    fn may_ask_for_new_keys() {
        let Some(files) = Files::for_openssl("keys") else {
            return;
        };
        let (mut node, addr, _) = serving(server_config(&files.authority.issue(NAME), ONLY_13));
        let mut client = Openssl::client(addr, &files, ONLY_13, &[]);
        client.say("the first\n");
        run_until([&mut node], |_| client.has_said("the first"));
        for (request, word) in ["the second", "the third"].into_iter().enumerate() {
            // A command is a read of its own, so what follows has to wait until it was understood.
            client.say("K\n");
            run_until([&mut node], |_| {
                client.times_said("KEYUPDATE") == request + 1
            });
            client.say(&format!("{word}\n"));
            run_until([&mut node], |_| client.has_said(word));
        }
    }

    #[test]
    fn resumes_a_session() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("resumed{}", version(versions))) else {
                return;
            };
            let (mut node, addr, _) =
                serving(server_config(&files.authority.issue(NAME), versions));
            let kept = files.path("session.pem");
            for (option, sign) in [("-sess_out", "New, TLS"), ("-sess_in", "Reused, TLS")] {
                let mut client = Openssl::client(addr, &files, versions, &[option, &kept]);
                client.say("hello\n");
                run_until([&mut node], |_| client.has_said("hello"));
                client.stdin = None;
                let _ = client.finish(&mut node);
                assert!(client.has_said(sign), "{option}: {:?}", client.log);
            }
        }
    }
}

mod openssl_server {
    use super::*;

    fn answers(versions: Versions, test: &str) {
        let Some(files) = Files::for_openssl(test) else {
            return;
        };
        let own = files.authority.issue(NAME);
        let mut config = client_config(&files.authority, versions);
        config.alpn_protocols = vec![b"lines".to_vec()];
        let (mut server, addr) = Openssl::server(&files, versions, &own, &["-alpn", "lines"]);
        let mut node = connector(config);
        let conn = node.net().connect(addr).expect("a connect");
        run_until([&mut node], |[node]| node.handler().connected() == [conn]);

        let identity = identity(&mut node, conn);
        assert_eq!(identity.requested_server_name.as_deref(), Some(NAME));
        assert_eq!(identity.protocol.as_deref(), Some(&b"lines"[..]));
        assert_eq!(identity.public_key, Some(own.public_key()));
        assert_eq!(identity.certificates, [own.chain()[0].to_vec()]);

        node.net().send(conn, b"drawer").expect("there is room");
        run_until([&mut node], |[node]| {
            node.handler().messages(conn) == [b"reward"]
        });
        // It sends its close notification when it is told to.
        node.net().send(conn, b"CLOSE").expect("there is room");
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
        run_until([&mut node], |_| server.has_said("CONNECTION CLOSED"));
    }

    #[test]
    fn answers_with_tls_1_2() {
        answers(ONLY_12, "server-12");
    }

    #[test]
    fn answers_with_tls_1_3() {
        answers(ONLY_13, "server-13");
    }

    #[test]
    fn that_is_killed_has_cut_its_stream_off() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("cut{}", version(versions))) else {
                return;
            };
            let own = files.authority.issue(NAME);
            let (mut server, addr) = Openssl::server(&files, versions, &own, &[]);
            let mut node = connector(client_config(&files.authority, versions));
            let conn = node.net().connect(addr).expect("a connect");
            node_hears_back(&mut node, conn);
            server.child.kill().expect("it runs");
            let reason = until_ended(&mut node, conn);
            assert_eq!(reason, DisconnectReason::Session(SessionError::Truncated));
        }
    }

    /// As with a client: the node says no, and OpenSSL gives up.
    #[test]
    fn that_wants_to_renegotiate_is_told_no() {
        let Some(files) = Files::for_openssl("server-renegotiation") else {
            return;
        };
        let own = files.authority.issue(NAME);
        let (mut server, addr) = Openssl::obedient_server(&files, ONLY_12, &own, &[]);
        let mut node = connector(client_config(&files.authority, ONLY_12));
        let conn = node.net().connect(addr).expect("a connect");
        run_until([&mut node], |[node]| node.handler().connected() == [conn]);
        server.say("hello\n");
        run_until([&mut node], |[node]| {
            node.handler().messages(conn) == [b"hello"]
        });
        server.say("r\n");
        let given_up = SessionError::RefusedByPeer("handshake failure");
        assert_eq!(
            until_ended(&mut node, conn),
            DisconnectReason::Session(given_up)
        );
        run_until([&mut node], |_| server.has_said("no renegotiation"));
    }

    fn node_hears_back(node: &mut TestNode, conn: ConnId) {
        run_until([node], |[node]| node.handler().connected() == [conn]);
        node.net().send(conn, b"drawer").expect("there is room");
        run_until([node], |[node]| {
            node.handler().messages(conn) == [b"reward"]
        });
    }

    #[test]
    fn knows_the_node_by_its_certificate() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("known{}", version(versions))) else {
                return;
            };
            let own = files.authority.issue(NAME);
            let guest = files.authority.issue("guest.example");
            let authority = files.path("authority.pem");
            let more = [
                "-Verify",
                "1",
                "-verify_return_error",
                "-CAfile",
                &authority,
            ];
            let (mut server, addr) = Openssl::server(&files, versions, &own, &more);
            let mut node = connector(known_client_config(&files.authority, versions, &guest));
            let conn = node.net().connect(addr).expect("a connect");
            node_hears_back(&mut node, conn);
            // It says whose certificate it saw.
            run_until([&mut node], |_| server.has_said("guest.example"));
        }
    }

    /// A connect that must fail, and why.
    #[track_caller]
    fn failure(node: &mut TestNode, addr: SocketAddr) -> SessionError {
        let connect = node.net().connect(addr).expect("a connect");
        let mut failure = None;
        run_until([node], |[node]| {
            failure = node.handler().events.iter().find_map(|event| match event {
                Event::ConnectFailed(conn, ConnectError::Session(error)) if *conn == connect => {
                    Some(*error)
                }
                // The client of TLS 1.3 is done before the server has seen its certificate.
                Event::Disconnect(conn, DisconnectReason::Session(error)) if *conn == connect => {
                    Some(*error)
                }
                _ => None,
            });
            failure.is_some()
        });
        failure.expect("it failed")
    }

    #[test]
    fn refuses_a_node_without_a_certificate() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("bare{}", version(versions))) else {
                return;
            };
            let own = files.authority.issue(NAME);
            let (_server, addr) = Openssl::server(&files, versions, &own, &["-Verify", "1"]);
            let mut node = connector(client_config(&files.authority, versions));
            let error = failure(&mut node, addr);
            let why = if versions == ONLY_12 {
                "handshake failure"
            } else {
                "certificate required"
            };
            assert_eq!(error, SessionError::RefusedByPeer(why));
        }
    }

    #[test]
    fn is_refused_for_its_authority_its_name_and_its_age() {
        for versions in [ONLY_12, ONLY_13] {
            let Some(files) = Files::for_openssl(&format!("bad{}", version(versions))) else {
                return;
            };
            let authority = &files.authority;
            for (own, why) in [
                (
                    Authority::new("another").issue(NAME),
                    "its certificate is from an unknown authority",
                ),
                (
                    authority.issue("other.example"),
                    "its certificate is for another name",
                ),
                (authority.issue_expired(NAME), "its certificate has expired"),
            ] {
                let (mut server, addr) = Openssl::server(&files, versions, &own, &[]);
                let mut node = connector(client_config(authority, versions));
                assert_eq!(failure(&mut node, addr), SessionError::Refused(why));
                // The alert has left: the server says which.
                run_until([&mut node], |_| server.has_said("alert"));
            }
        }
    }

    #[test]
    fn of_another_version_refuses_the_node() {
        let Some(files) = Files::for_openssl("versions") else {
            return;
        };
        let own = files.authority.issue(NAME);
        for (here, there) in [(ONLY_12, ONLY_13), (ONLY_13, ONLY_12)] {
            let (_server, addr) = Openssl::server(&files, there, &own, &[]);
            let mut node = connector(client_config(&files.authority, here));
            let error = failure(&mut node, addr);
            assert_eq!(
                error,
                SessionError::RefusedByPeer("no TLS version in common")
            );
        }
    }

    /// A server that speaks first, and no TLS.
    #[test]
    fn or_rather_a_server_without_tls_is_refused() {
        let authority = Authority::new("the authority");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("it has one");
        let serving = thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("somebody connects");
            socket
                .write_all(b"220 mail.example at your service\r\n")
                .expect("there is room");
            let mut heard = Vec::new();
            let _ = socket.read_to_end(&mut heard);
        });
        let mut node = connector(client_config(&authority, ONLY_13));
        assert_eq!(
            failure(&mut node, addr),
            SessionError::Malformed("not a TLS record")
        );
        serving.join().expect("no panic");
    }
}

mod a_client_without_tls {
    use super::*;

    #[test]
    fn gets_an_alert_and_a_fin() {
        let authority = Authority::new("the authority");
        let (mut node, addr, failures) = serving(server_config(&authority.issue(NAME), ONLY_13));
        let mut peer = connect(addr);
        peer.write_all(b"GET / HTTP/1.1\r\nHost: peer.example\r\n\r\n")
            .expect("there is room");
        run_until([&mut node], |[node]| {
            node.net().metrics().handshakes_failed == 1
        });
        let mut answer = Vec::new();
        peer.set_nonblocking(true).expect("a socket");
        run_until([&mut node], |_| peer.read_to_end(&mut answer).is_ok());
        assert!(
            matches!(answer[..], [21, 3, _, 0, 2, 2, _]),
            "a fatal alert: {answer:?}"
        );
        let expected = SessionError::Malformed("not a TLS record");
        assert_eq!(*failures.lock().expect("no panic"), [expected]);
        drop(peer);
        run_until([&mut node], |[node]| node.handler().events.len() > 1);
        assert_failed_once(&node, expected);
    }
}

/// rustls on sockets that block, in a thread of its own.
mod blocking_rustls {
    use super::*;

    const LENS: [usize; 6] = [1, 100, 16_384, 16_385, 70_000, 1 << 20];

    fn line(len: usize) -> Vec<u8> {
        (0..len).map(|at| b'a' + (at % 23) as u8).collect()
    }

    fn bounded(socket: &TcpStream) {
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        socket.set_write_timeout(Some(PATIENCE)).expect("not zero");
    }

    #[test]
    fn as_client_is_answered() {
        for versions in [ONLY_12, ONLY_13] {
            let authority = Authority::new("the authority");
            let (mut node, addr, _) = serving(server_config(&authority.issue(NAME), versions));
            let config = Arc::new(client_config(&authority, versions));
            let asking = thread::spawn(move || {
                let socket = TcpStream::connect(addr).expect("the node listens");
                bounded(&socket);
                let connection =
                    ClientConnection::new(config, server_name(NAME)).expect("a client");
                let mut tls = BufReader::new(StreamOwned::new(connection, socket));
                for len in LENS {
                    let mut question = line(len);
                    question.push(b'\n');
                    tls.get_mut().write_all(&question).expect("the node reads");
                    let mut answer = Vec::new();
                    let _ = tls
                        .read_until(b'\n', &mut answer)
                        .expect("the node answers");
                    assert!(answer == question, "{len} bytes");
                }
                tls.get_mut().conn.send_close_notify();
                tls.get_mut().flush().expect("the node reads");
                // Ends with the node's own close_notify, or it is an error.
                assert_eq!(tls.read(&mut [0]).expect("a clean end"), 0);
            });
            run_until([&mut node], |_| asking.is_finished());
            asking.join().expect("everything came back");
            let conn = node.handler().connected()[0];
            assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
        }
    }

    #[test]
    fn as_server_answers() {
        for versions in [ONLY_12, ONLY_13] {
            let authority = Authority::new("the authority");
            let config = Arc::new(server_config(&authority.issue(NAME), versions));
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let addr = listener.local_addr().expect("it has one");
            let answering = thread::spawn(move || {
                let (socket, _) = listener.accept().expect("the node connects");
                bounded(&socket);
                let connection = ServerConnection::new(config).expect("a server");
                let mut tls = BufReader::new(StreamOwned::new(connection, socket));
                let mut question = Vec::new();
                while tls.read_until(b'\n', &mut question).expect("a clean end") > 0 {
                    tls.get_mut().write_all(&question).expect("the node reads");
                    question.clear();
                }
                tls.get_mut().conn.send_close_notify();
                tls.get_mut().flush().expect("the node waits for this");
            });
            let mut node = connector(client_config(&authority, versions));
            let conn = node.net().connect(addr).expect("a connect");
            run_until([&mut node], |[node]| node.handler().connected() == [conn]);
            for (at, len) in LENS.into_iter().enumerate() {
                node.net().send(conn, line(len)).expect("there is room");
                run_until([&mut node], |[node]| {
                    node.handler().messages(conn).len() > at
                });
                assert!(
                    node.handler().messages(conn)[at] == line(len),
                    "{len} bytes"
                );
            }
            node.net().close(conn);
            assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
            answering.join().expect("everything was answered");
        }
    }
}
