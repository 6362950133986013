//! Idle connections need no turns.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use peerloop::{Config, ConnId, Handler, Net, Node};

const SECOND: Duration = Duration::from_secs(1);
const CONNECTIONS: u32 = 200;

/// The time over which the connections are made, and the time that is measured
/// afterwards.
const CONNECTING: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(40);

/// Maximum number of turns. One of them answers how many there were.
const TURNS_MAX: u64 = 8;

struct Silent;

impl Handler for Silent {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Returns the number of turns of a node with connections of which every other
/// one has sent a message in two pieces.
fn idle_turns(idle: Option<Duration>) -> u64 {
    let mut config = Config::default();
    config.limits.max_connections_per_address = CONNECTIONS as usize;
    config.connection.timeouts.idle = idle;
    let mut node = Node::new(config, Silent).expect("a node");
    let addr = node.net().listen("127.0.0.1:0").expect("a listener").addr;
    let node = node.spawn().expect("a thread");
    let handle = node.handle();
    let begun = Instant::now();
    let mut peers = Vec::new();
    for number in 0..CONNECTIONS {
        let mut peer = TcpStream::connect(addr).expect("it listens");
        peer.set_nodelay(true).expect("an open connection");
        if number % 2 == 0 {
            peer.write_all(b"\0\0\0\x02a").expect("room for a byte");
            thread::sleep(Duration::from_millis(5));
            peer.write_all(b"b").expect("room for a byte");
        }
        peers.push(peer);
        let next = CONNECTING / CONNECTIONS * (number + 1);
        thread::sleep(next.saturating_sub(begun.elapsed()));
    }
    let turns = || {
        handle
            .ask(|_, net| {
                assert_eq!(net.connection_count(), CONNECTIONS as usize);
                net.metrics().turns
            })
            .expect("it runs")
    };
    thread::sleep(SECOND / 2);
    let before = turns();
    thread::sleep(MEASURED);
    turns() - before
}

#[test]
#[ignore = "timed: .ci/run bounds"]
fn idle_connections_take_few_turns() {
    let idle = [
        Config::default().connection.timeouts.idle,
        None,
        Some(600 * SECOND),
    ];
    let nodes = idle.map(|idle| thread::spawn(move || (idle, idle_turns(idle))));
    for node in nodes {
        let (idle, turns) = node.join().expect("no panic");
        println!("idle {idle:?}: {turns} turns");
        assert!(turns <= TURNS_MAX, "idle {idle:?}: {turns} turns");
    }
}
