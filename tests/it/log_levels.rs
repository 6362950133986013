//! Nothing that a peer does is logged above debug.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};
use peerloop::{Config, ConnId, Handler, Net, Node, RunEnd};

use crate::util::child::{self, test_path};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps the lines of the library at warn and above.
struct Warnings;

impl Log for Warnings {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.target() == "peerloop" && record.level() <= Level::Warn {
            let line = format!("{} {}", record.level(), record.args());
            LINES.lock().expect("no panic").push(line);
        }
    }

    fn flush(&self) {}
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
fn many_quick_messages_of_one_read_are_no_slow_turn() {
    let test = test_path!(many_quick_messages_of_one_read_are_no_slow_turn);
    child::alone(test, send_many_quick_messages);
}

fn send_many_quick_messages() {
    const MESSAGES: usize = 5 * 65_536;
    log::set_logger(&Warnings).expect("it is the only one");
    log::set_max_level(LevelFilter::Info);
    let mut node = Node::new(Config::default(), Counts::default()).expect("a node");
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
        // Otherwise the machine was too busy to judge.
        assert_eq!(node.net().metrics().slow_turns, 0, "{longest:?}");
    }
    let lines = LINES.lock().expect("no panic");
    assert!(lines.is_empty(), "{lines:?}");
}
