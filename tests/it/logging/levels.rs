//! Levels of log lines. A process has one logger, so each test has a process.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};
use peerloop::{Config, ConnId, Handler, Net, Node, RunEnd};

use crate::util::child::{self, test_path};
use crate::util::raw::{accepted, connect, connect_narrow, join, pour, reset, until_ended};
use crate::util::streams::{messages, narrow_config};
use crate::util::{Event, Recorder, TestNode, frame, listening, run_until};

/// Keeps the lines about nodes whose name begins so.
const WATCHED: &str = "watched-";

struct Watcher(Mutex<Vec<(Level, String)>>);

impl Log for Watcher {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = record.args().to_string();
        if line.starts_with(WATCHED) {
            assert_eq!(record.target(), "peerloop");
            let mut lines = self.0.lock().expect("no panic");
            lines.push((record.level(), line));
        }
    }

    fn flush(&self) {}
}

static WATCHER: Watcher = Watcher(Mutex::new(Vec::new()));

/// Returns the lines about one node.
fn lines(name: &str) -> Vec<(Level, String)> {
    let lines = WATCHER.0.lock().expect("no panic");
    let about = |line: &&(Level, String)| line.1.starts_with(name);
    lines.iter().filter(about).cloned().collect()
}

fn watch(level: LevelFilter) {
    log::set_logger(&WATCHER).expect("the only logger of the process");
    log::set_max_level(level);
}

fn watched(name: &str, config: Config, handler: Recorder) -> (TestNode, SocketAddr) {
    watch(LevelFilter::Trace);
    let config = Config {
        name: name.to_owned(),
        // The machine may be slow, which no peer causes.
        slow_turn: None,
        ..config
    };
    listening(config, handler)
}

/// Does everything with which a peer ends its connection or is refused.
fn misbehave(node: &mut TestNode, addr: SocketAddr) {
    let attacks: [&[u8]; 3] = [&[0xff; 64], &[0, 0, 0, 9, 1], &[0]];
    for attack in attacks {
        let (conn, mut peer) = join(node, addr);
        peer.write_all(attack).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        until_ended(node, conn);
    }
    let (conn, peer) = join(node, addr);
    reset(peer);
    until_ended(node, conn);
    let (silent, peer) = join(node, addr);
    let surplus = connect(addr);
    run_until([node], |[node]| node.net().metrics().refused_by_total > 0);
    until_ended(node, silent);
    drop((peer, surplus));
    let early = connect(addr);
    reset(early);
}

#[test]
fn actions_of_peers_are_logged_at_debug() {
    child::alone(
        test_path!(actions_of_peers_are_logged_at_debug),
        log_what_a_peer_causes,
    );
}

fn log_what_a_peer_causes() {
    let name = "watched-hostile";
    let mut config = Config::default();
    config.limits.max_connections = 1;
    config.connection.timeouts.idle = Some(Duration::from_millis(500));
    let (mut node, addr) = watched(name, config, Recorder::default());
    misbehave(&mut node, addr);
    let metrics = node.net().metrics();
    let counted = [
        metrics.framing_errors,
        metrics.resets.min(1),
        metrics.idle_timeouts,
    ];
    assert_eq!(counted, [1, 1, 1]);
    let lines = lines(name);
    let loud: Vec<_> = lines
        .iter()
        .filter(|(level, _)| *level < Level::Debug)
        .collect();
    // The program has asked for the listener.
    assert_eq!(loud.len(), 1, "{loud:?}");
    assert!(loud[0].1.contains("listening"), "{loud:?}");
    assert!(lines.len() > 5, "{lines:?}");
}

#[test]
fn flood_and_refused_sends_are_not_logged() {
    child::alone(
        test_path!(flood_and_refused_sends_are_not_logged),
        flood_and_refuse,
    );
}

fn flood_and_refuse() {
    let name = "watched-flooded";
    let handler = Recorder::reacting(|net, event| {
        if let Event::Message(conn, _) = event {
            let _ = net.send(*conn, &[7; 10_000]);
        }
    });
    let (mut node, addr) = watched(name, narrow_config(), handler);
    let mut peer = connect_narrow(addr);
    accepted(&mut node);
    let before = lines(name).len();
    pour(&mut node, &mut peer, &frame(b"x").repeat(5000));
    run_until([&mut node], |[node]| messages(node) == 5000);
    assert!(node.net().metrics().sends_refused > 1000);
    assert_eq!(lines(name).len(), before);
}

/// Takes three microseconds for each message.
#[derive(Default)]
struct Counts {
    messages: usize,
    longest: Duration,
}

impl Handler for Counts {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_micros(3) {}
        self.messages += 1;
        self.longest = self.longest.max(begun.elapsed());
    }
}

#[test]
fn quick_messages_of_one_read_are_no_slow_turn() {
    let test = test_path!(quick_messages_of_one_read_are_no_slow_turn);
    child::alone(test, send_many_quick_messages);
}

fn send_many_quick_messages() {
    const MESSAGES: usize = 5 * 65_536;
    watch(LevelFilter::Warn);
    let config = Config {
        name: "watched-quick".to_owned(),
        ..Config::default()
    };
    let mut node = Node::new(config, Counts::default()).expect("a node");
    let addr = node.net().listen("127.0.0.1:0").expect("a listener").addr;
    let peer = thread::spawn(move || {
        let mut peer = TcpStream::connect(addr).expect("it listens");
        peer.write_all(&vec![0; 4 * MESSAGES]).expect("it is read");
        peer
    });
    let patience = Duration::from_secs(60);
    let run = node.run_until(patience, |it, _| it.messages == MESSAGES);
    assert_eq!(run.expect("it runs"), RunEnd::Done);
    drop(peer.join());
    let longest = node.handler().longest;
    if longest < Duration::from_millis(50) {
        // Otherwise the machine was too busy.
        assert_eq!(node.net().metrics().slow_turns, 0, "{longest:?}");
    }
    assert_eq!(lines("watched-quick"), []);
}
