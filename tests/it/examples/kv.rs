//! The key-value server: its protocol, its bounds, and the times of expiry.

#[path = "../../../examples/kv/commands.rs"]
mod commands;
#[path = "../../../examples/kv/keys.rs"]
mod keys;
#[path = "../../../examples/kv/resp.rs"]
mod resp;
#[path = "../../../examples/kv/server.rs"]
mod server;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use peerloop::framing::{Decoded, Framer};
use peerloop::sim::{Faults, NodeId, Wire, World};
use peerloop::{Bytes, Net};

use keys::Keys;
use resp::{COMMAND_MAX, Commands, MESSAGE_MAX, Stop, read};
use server::Server;

/// Longer than a round trip.
const WAIT: Duration = Duration::from_secs(1);

/// A server and a client in a network without faults.
struct Served {
    world: World,
    node: NodeId<Server>,
    client: Wire,
}

impl Served {
    fn new() -> Self {
        let mut world = World::new(1);
        world.faults(Faults::calm());
        let node = world.node(server::config(), Server::default());
        let listening = world.with(node, |_, net| net.listen("0.0.0.0:6379"));
        listening.expect("the port is free");
        let addr = world.addr(node);
        let client = world.wire(addr).expect("a connection");
        world.run_for(WAIT);
        Self {
            world,
            node,
            client,
        }
    }

    fn reconnect(&mut self) {
        self.world.close_wire(self.client);
        let addr = self.world.addr(self.node);
        self.client = self.world.wire(addr).expect("a connection");
        self.world.run_for(WAIT);
    }

    fn send(&mut self, bytes: &[u8]) {
        self.write(bytes);
        self.world.run_for(WAIT);
    }

    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.world.write_wire(self.client, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            self.world.run_for(Duration::from_millis(10));
        }
    }

    /// Returns what has arrived, and whether the server has closed the connection.
    fn received(&mut self) -> (String, bool) {
        let mut bytes = Vec::new();
        let read = self.world.read_wire(self.client, &mut bytes);
        let has_ended = read.expect("no reset");
        (String::from_utf8(bytes).expect("text"), has_ended)
    }

    #[track_caller]
    fn assert_answer(&mut self, command: &str, answer: &str) {
        self.send(command.as_bytes());
        assert_eq!(self.received(), (answer.to_owned(), false), "{command}");
    }
}

/// Both kinds of commands, one of them empty, and a value with a line break.
const PIPELINE: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\nGET k\r\n\r\n*0\r\n\
    *2\r\n$4\r\nincr\r\n$1\r\nn\r\nPING\n*4\r\n$4\r\nMGET\r\n$1\r\nk\r\n$0\r\n\r\n$1\r\nn\r\n";
const ANSWERS: &str =
    "+OK\r\n$4\r\na\r\nb\r\n:1\r\n+PONG\r\n*3\r\n$4\r\na\r\nb\r\n$-1\r\n$1\r\n1\r\n";

#[test]
fn pipeline_split_anywhere_has_same_answers() {
    for at in 0..=PIPELINE.len() {
        let mut served = Served::new();
        served.write(&PIPELINE[..at]);
        served.send(&PIPELINE[at..]);
        assert_eq!(served.received(), (ANSWERS.to_owned(), false), "{at}");
    }
    let mut served = Served::new();
    PIPELINE.chunks(1).for_each(|byte| served.write(byte));
    served.world.run_for(WAIT);
    assert_eq!(served.received(), (ANSWERS.to_owned(), false));
}

#[test]
fn malformed_command_is_answered_and_ends() {
    let too_long_line = "x".repeat(4096);
    let mut served = Served::new();
    for (bytes, problem) in [
        ("*x\r\n", "expected a length"),
        ("*\r\n", "expected a length"),
        ("*-1\r\n", "expected a length"),
        ("*1025\r\n", "expected a length"),
        ("*99999999999999999999\r\n", "expected a length"),
        ("*1\n$4\r\nPING\r\n", "expected a length"),
        // An array in an array.
        ("*1\r\n*1\r\n$4\r\nPING\r\n", "expected a length"),
        ("*1\r\n:4\r\n", "expected a length"),
        ("*1\r\n$-1\r\n", "expected a length"),
        ("*1\r\n$1048577\r\n", "expected a length"),
        ("*1\r\n$1048570\r\n", "invalid bulk length"),
        ("*1\r\n$3\r\nPING\r\n", "invalid bulk length"),
        (&too_long_line, "inline too long"),
    ] {
        // The rest is not run.
        served.send(format!("PING\r\n{bytes}SET k v\r\n").as_bytes());
        let answers = format!("+PONG\r\n-ERR Protocol error: {problem}\r\n");
        assert_eq!(served.received(), (answers, true), "{bytes}");
        served.reconnect();
        served.assert_answer("GET k\r\n", "$-1\r\n");
    }
}

/// It may arrive in one part or in several, and bytes may follow it.
#[test]
fn too_long_command_is_malformed_as_a_whole() {
    let value = "v".repeat(COMMAND_MAX - 20);
    let len = value.len();
    let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${len}\r\n{value}\r\n");
    let followed = [set.as_bytes(), &[b'x'; 4096]].concat();
    for arrived in [COMMAND_MAX, set.len(), followed.len()] {
        let decoded = Commands.decode(&followed[..arrived]);
        let Ok(Decoded::Frame { consumed, .. }) = decoded else {
            panic!("{decoded:?} of {arrived}");
        };
        // A longer message ends the connection without an answer.
        assert!(consumed <= MESSAGE_MAX, "{consumed} of {arrived}");
        let command = read(&followed[..consumed], |_| {});
        assert!(matches!(command, Err(Stop::Malformed(_))), "{arrived}");
    }
}

#[test]
fn wrong_command_is_answered_and_goes_on() {
    let mut served = Served::new();
    let unknown = "-ERR unknown command or wrong number of arguments\r\n";
    for command in [
        "WHAT", "GET", "GET a b", "SET k", "MGET", "DEL", "TTL", "INCR", "HELLO 3",
    ] {
        served.assert_answer(&format!("{command}\r\n"), unknown);
    }
    served.assert_answer("*1\r\n$0\r\n\r\n", unknown);
    for options in ["EX", "NX XX", "EX 1 PX 1", "KEEPTTL"] {
        let command = format!("SET k v {options}\r\n");
        served.assert_answer(&command, "-ERR syntax error\r\n");
    }
    let not_integer = "-ERR value is not an integer or out of range\r\n";
    served.assert_answer("SET k v EX 1x\r\n", not_integer);
    for time in ["0", "-1", "9223372036854775807"] {
        let command = format!("SET k v EX {time}\r\n");
        served.assert_answer(&command, "-ERR invalid expire time\r\n");
    }
    let command = "SET k v PX 9223372036854775308\r\n";
    served.assert_answer(command, "-ERR invalid expire time\r\n");
    served.assert_answer("SET k v PX 9223372036854775307\r\n", "+OK\r\n");
    served.assert_answer("PEXPIRE k 9223372036854775307\r\n", ":1\r\n");
    served.assert_answer("TTL k\r\n", ":9223372036854774\r\n");
    served.assert_answer("SET k 9223372036854775807\r\n", "+OK\r\n");
    let overflow = "-ERR increment or decrement would overflow\r\n";
    served.assert_answer("INCR k\r\n", overflow);
    for value in ["v", "+1", "01", "-0", "1 ", ""] {
        let set = format!(
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{value}\r\n",
            value.len()
        );
        served.assert_answer(&set, "+OK\r\n");
        served.assert_answer("INCR k\r\n", not_integer);
    }
}

#[test]
fn quit_answers_and_closes() {
    let mut served = Served::new();
    served.send(b"PING\r\nquit\r\nPING\r\n");
    assert_eq!(served.received(), ("+PONG\r\n+OK\r\n".to_owned(), true));
}

#[test]
fn expired_keys_release_their_memory() {
    let mut served = Served::new();
    let keys = 2500;
    let command = |key| format!("SET key:{key} value PX 60000\r\n");
    let commands: String = (0..keys).map(command).collect();
    served.send(commands.as_bytes());
    assert_eq!(served.received().0, "+OK\r\n".repeat(keys));
    served.send(b"PTTL key:0\r\n");
    let left = served.received().0;
    let left: u64 = left.trim_matches([':', '\r', '\n']).parse().expect("ms");
    assert!((50_000..60_000).contains(&left), "{left}");
    // `INFO` reports the memory before it removes keys.
    served.world.run_for(Duration::from_millis(left) - 2 * WAIT);
    served.assert_answer("EXPIRE key:0 60\r\n", ":1\r\n");
    served.world.run_for(WAIT);
    served.assert_answer("INFO\r\n", "$17\r\nused_memory:367\r\n\r\n");
    served.assert_answer("GET key:1\r\n", "$-1\r\n");
    served.assert_answer("DEL key:0 key:1\r\n", ":1\r\n");
    served.assert_answer("INFO\r\n", "$15\r\nused_memory:0\r\n\r\n");
}

#[test]
fn key_expires_at_its_time_exactly() {
    let start = Instant::now();
    let at = |nanos| start + Duration::from_nanos(nanos);
    let mut keys = Keys::default();
    let mut run = |nanos, command: &str| {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let mut answer = Vec::new();
        let result = commands::run(&mut keys, at(nanos), &words, &mut answer);
        assert_eq!(result, Ok(false));
        String::from_utf8(answer).expect("text")
    };
    assert_eq!(run(0, "SET k v PX 2"), "+OK\r\n");
    assert_eq!(run(0, "PTTL k"), ":2\r\n");
    assert_eq!(run(1_999_999, "GET k"), "$1\r\nv\r\n");
    assert_eq!(run(2_000_000, "GET k"), "$-1\r\n");
    assert_eq!(run(2_000_000, "TTL k"), ":-2\r\n");
    assert_eq!(run(2_000_000, "DEL k"), ":0\r\n");
    assert_eq!(run(0, "SET k 5 EX 1"), "+OK\r\n");
    assert_eq!(run(0, "INCR k"), ":6\r\n");
    assert_eq!(run(400_000_000, "TTL k"), ":1\r\n");
    assert_eq!(run(1_000_000_000, "SET k v XX"), "$-1\r\n");
    assert_eq!(run(1_000_000_000, "SET k v NX"), "+OK\r\n");
    assert_eq!(run(1_000_000_000, "TTL k"), ":-1\r\n");
    assert_eq!(run(1_000_000_000, "EXPIRE k -5"), ":1\r\n");
    assert_eq!(run(1_000_000_000, "GET k"), "$-1\r\n");
}

#[test]
fn memory_is_bounded() {
    static VALUE: [u8; 1024 * 1024] = [0; 1024 * 1024];
    let value = Bytes::from_static(&VALUE);
    let mut keys = Keys::default();
    let room = 256 * 1024 * 1024 / (VALUE.len() + 352);
    for key in 0..room {
        keys.set(&key.to_be_bytes(), value.clone(), None)
            .expect("room");
    }
    let full = keys.set(b"one more", value.clone(), None);
    assert!(full.is_err_and(|error| error.starts_with("OOM ")));
    assert_eq!(keys.remove(&0_usize.to_be_bytes()), Some(()));
    assert_eq!(keys.set(b"one more", value, None), Ok(()));
}

#[test]
fn too_long_answer_is_refused() {
    let mut served = Served::new();
    let value = "v".repeat(400_000);
    let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400000\r\n{value}\r\n");
    served.assert_answer(&set, "+OK\r\n");
    served.assert_answer("MGET k k k\r\n", "-ERR the answer is too long\r\n");
    served.assert_answer("PING\r\n", "+PONG\r\n");
}

#[test]
fn slow_reader_is_paused_until_it_reads() {
    let mut served = Served::new();
    let value = "v".repeat(4000);
    served.assert_answer(&format!("SET k {value}\r\n"), "+OK\r\n");
    let count = 1000;
    served.send("GET k\r\n".repeat(count).as_bytes());
    let queued = |served: &mut Served| {
        let sum = |net: &mut Net| net.connections().map(|it| it.queued_bytes()).sum();
        served
            .world
            .with::<_, usize>(served.node, |_, net| sum(net))
    };
    let paused = queued(&mut served);
    assert!((1..270 * 1024).contains(&paused), "{paused}");
    let mut received = 0;
    while received < count * (value.len() + 9) {
        let (answers, has_ended) = served.received();
        assert!(!answers.is_empty() && !has_ended, "{received}");
        received += answers.len();
        served.world.run_for(WAIT);
    }
    assert_eq!(received, count * (value.len() + 9));
    assert_eq!(queued(&mut served), 0);
}
