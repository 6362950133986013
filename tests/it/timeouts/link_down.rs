//! A peer whose link goes down is found within the configured time. The node
//! and its peer are processes in two network namespaces. The tests are skipped
//! where these cannot be made.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use peerloop::config::{Keepalive, SocketConfig, Timeouts};
use peerloop::error::TimeoutKind;
use peerloop::{Config, DisconnectReason};

use super::{OFF, config};
use crate::util::child::{self, test_path};
use crate::util::netns::{ADDRS, Namespaces};
use crate::util::{Event, PATIENCE, Recorder, node, run_until};

const PORT: u16 = 7000;

/// The interval at which the node sends.
const EVERY: Duration = Duration::from_millis(100);

/// The configured time.
const FOUND_WITHIN: Duration = Duration::from_secs(3);

/// Time for the commands and processes of the test.
const SLACK: Duration = Duration::from_secs(3);

/// Set in the child processes.
const ROLE: &str = "PEERLOOP_TEST_ROLE";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Talk {
    /// The node sends all the time, and the peer answers.
    Busy,
    /// Nothing is sent after one message and its answer.
    Idle,
}

/// Runs one test in three processes: this one, the node and the peer.
fn finds_peer_that_is_gone(
    test: &str,
    name: &str,
    talk: Talk,
    config: Config,
    is_reason: fn(DisconnectReason) -> bool,
) {
    match std::env::var(ROLE).as_deref() {
        Ok("peer") => return answer(),
        Ok(_) => return run_node(talk, config, is_reason),
        Err(_) => {}
    }
    let Some(namespaces) = Namespaces::new(name) else {
        return;
    };
    let peer = Process::new(&namespaces, 1, test, "peer");
    peer.wait_for("listens");
    let node = Process::new(&namespaces, 0, test, "node");
    node.wait_for("is answered");
    let cut = Instant::now();
    namespaces.cut(1);
    node.wait_for("has ended");
    let took = cut.elapsed();
    assert!(took < FOUND_WITHIN + SLACK, "{took:?}");
    // The link was in order until the cut.
    assert!(took > FOUND_WITHIN / 2, "{took:?}");
}

/// Answers each byte with itself.
fn answer() {
    let listener = TcpListener::bind((ADDRS[1], PORT)).expect("a listener");
    println!("listens");
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut bytes = [0; 1024];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(count) => stream.write_all(&bytes[..count]).expect("it is open"),
        }
    }
}

/// Runs the node, and prints when it is connected and when that has ended.
fn run_node(talk: Talk, config: Config, is_reason: fn(DisconnectReason) -> bool) {
    let mut answers = 0;
    let handler = Recorder::reacting(move |net, event| match event {
        Event::Connect(conn) => {
            net.send(*conn, b"x").expect("there is room");
            if talk == Talk::Busy {
                net.set_interval(EVERY, 0);
            }
        }
        Event::Timer(..) => {
            let conn = net.connections().next().map(|it| it.id());
            if let Some(conn) = conn {
                net.send(conn, b"x").expect("there is room");
            }
        }
        Event::Message(..) => {
            answers += 1;
            if answers == if talk == Talk::Busy { 5 } else { 1 } {
                println!("is answered");
            }
        }
        _ => {}
    });
    let mut node = node(config, handler);
    let conn = node.net().connect(format!("{}:{PORT}", ADDRS[1]).as_str());
    let conn = conn.expect("no limit is reached");
    run_until([&mut node], |[node]| node.handler().ended(conn).is_some());
    let reason = node.handler().ended(conn).expect("it has ended");
    assert!(is_reason(reason), "{reason}");
    println!("has ended");
}

/// A process in a namespace, which is killed when this is dropped.
struct Process {
    child: Child,
    printed: Receiver<String>,
}

impl Process {
    fn new(namespaces: &Namespaces, end: usize, test: &str, role: &str) -> Self {
        let mut command = child::command(test, None);
        command.env(ROLE, role);
        let mut child = namespaces
            .command(end, &command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (line_printed, printed) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = line_printed.send(line);
            }
        });
        Self { child, printed }
    }

    /// Waits for a line that contains this text.
    #[track_caller]
    fn wait_for(&self, text: &str) {
        let mut log = Vec::new();
        while let Ok(line) = self.printed.recv_timeout(PATIENCE) {
            if line.contains(text) {
                return;
            }
            log.push(line);
        }
        panic!("no `{text}` in {log:#?}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns whether the system found it. The network may have reported another
/// error before the time was over.
fn is_from_system(reason: DisconnectReason) -> bool {
    matches!(reason, DisconnectReason::Io(error)
        if ["TimedOut", "HostUnreachable", "NetworkUnreachable"]
            .contains(&format!("{:?}", error.kind).as_str()))
}

fn with_sockets(sockets: SocketConfig) -> Config {
    Config {
        sockets,
        ..config(OFF)
    }
}

#[test]
fn receive_idle_finds_a_dead_link() {
    let config = config(Timeouts {
        receive_idle: Some(FOUND_WITHIN),
        ..OFF
    });
    finds_peer_that_is_gone(
        test_path!(receive_idle_finds_a_dead_link),
        "ri",
        Talk::Busy,
        config,
        |reason| reason == DisconnectReason::Timeout(TimeoutKind::ReceiveIdle),
    );
}

#[test]
fn user_timeout_finds_a_dead_link() {
    let config = with_sockets(SocketConfig {
        user_timeout: Some(FOUND_WITHIN),
        ..SocketConfig::default()
    });
    let test = test_path!(user_timeout_finds_a_dead_link);
    finds_peer_that_is_gone(test, "ut", Talk::Busy, config, is_from_system);
}

/// The first probe after a second, two without an answer.
const KEEPALIVE: Keepalive = Keepalive {
    idle: Some(Duration::from_secs(1)),
    interval: Some(Duration::from_secs(1)),
    retries: Some(2),
};

#[test]
fn keepalive_finds_a_dead_idle_link() {
    let config = with_sockets(SocketConfig {
        keepalive: Some(KEEPALIVE),
        ..SocketConfig::default()
    });
    let test = test_path!(keepalive_finds_a_dead_idle_link);
    finds_peer_that_is_gone(test, "ka", Talk::Idle, config, is_from_system);
}

/// No probe is sent while sent bytes are not acknowledged, so a node that sends
/// needs both options.
#[test]
fn keepalive_and_user_timeout_find_a_dead_link() {
    let config = with_sockets(SocketConfig {
        keepalive: Some(KEEPALIVE),
        user_timeout: Some(FOUND_WITHIN),
        ..SocketConfig::default()
    });
    let test = test_path!(keepalive_and_user_timeout_find_a_dead_link);
    finds_peer_that_is_gone(test, "kb", Talk::Busy, config, is_from_system);
}
