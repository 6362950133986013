//! The memory that a loop holds for messages that do not end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use memory_bounds::{Alone, KIB, MIB, PATIENCE};
use peerloop::{Config, ConnId, DisconnectReason, Handler, Net, Node};

/// Echoes, and counts the connections that were ended because of memory.
#[derive(Default)]
struct Echo {
    honest: Option<ConnId>,
    ended_for_memory: usize,
    honest_end: Option<DisconnectReason>,
}

impl Handler for Echo {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.honest = Some(conn);
        net.send(conn, message).expect("there is room");
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.ended_for_memory += usize::from(reason == DisconnectReason::MemoryLimit);
        if self.honest == Some(conn) {
            self.honest_end = Some(reason);
        }
    }
}

const ANNOUNCERS: usize = 127;
const LEN: usize = 8 * MIB;

/// Each sends all of a message but its last byte.
fn announce(addr: std::net::SocketAddr) -> Vec<TcpStream> {
    let header = u32::try_from(LEN).expect("a length").to_be_bytes();
    let mut peers: Vec<TcpStream> = (0..ANNOUNCERS)
        .map(|_| TcpStream::connect(addr).expect("it listens"))
        .collect();
    for peer in &mut peers {
        let _ = peer.write_all(&header);
    }
    let piece = vec![1; 256 * KIB];
    let mut left = LEN - 1;
    while left > 0 {
        let len = left.min(piece.len());
        for peer in &mut peers {
            // It may have been ended.
            let _ = peer.write_all(&piece[..len]);
        }
        left -= len;
    }
    peers
}

/// Sends requests until the test ends, and returns the number of answers.
fn ask(addr: std::net::SocketAddr, stop: &AtomicBool) -> usize {
    let mut peer = TcpStream::connect(addr).expect("it listens");
    peer.set_read_timeout(Some(PATIENCE))
        .expect("an open socket");
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        peer.write_all(&[0, 0, 0, 1, b'x']).expect("it goes on");
        peer.read_exact(&mut [0; 5]).expect("an answer");
        count += 1;
        thread::sleep(Duration::from_millis(1));
    }
    count
}

#[test]
fn incomplete_messages_keep_to_the_limit() {
    let alone = Alone::begin();
    let mut node = Node::new(Config::default(), Echo::default()).expect("a node");
    let addr = node.net().listen("127.0.0.1:0").expect("a listener").addr;
    let stop = Arc::new(AtomicBool::new(false));
    let asking = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || ask(addr, &stop))
    };
    while node.handler().honest.is_none() {
        let _ = node.turn(Some(Duration::from_millis(5))).expect("a turn");
    }
    let announcing = thread::spawn(move || announce(addr));
    let end = Instant::now() + PATIENCE;
    while !announcing.is_finished() {
        assert!(Instant::now() < end, "they are not ended");
        let _ = node.turn(Some(Duration::from_millis(5))).expect("a turn");
    }
    // The kernel still has some of what they sent.
    let limit = node.net().config().limits.loop_receive_bytes;
    let most_complete = limit / LEN + 1;
    while node.handler().ended_for_memory < ANNOUNCERS - most_complete {
        assert!(Instant::now() < end, "the others are not ended");
        let _ = node.turn(Some(Duration::from_millis(5))).expect("a turn");
    }
    stop.store(true, Ordering::Relaxed);
    while !asking.is_finished() {
        let _ = node.turn(Some(Duration::from_millis(5))).expect("a turn");
    }
    assert!(asking.join().expect("no panic") > 10);
    let end = node.handler().honest_end;
    assert!(
        matches!(end, None | Some(DisconnectReason::PeerClosed)),
        "{end:?}"
    );
    let metrics = node.net().metrics();
    println!(
        "at most {} KiB held, {} connections ended",
        metrics.max_received_bytes / KIB,
        node.handler().ended_for_memory
    );
    // A partial message may have doubled with the last read.
    assert!(metrics.max_received_bytes <= limit + LEN);
    assert_eq!(
        metrics.memory_limit_ends as usize,
        node.handler().ended_for_memory
    );
    drop(announcing.join().expect("no panic"));
    drop(node);
    alone.assert_below(limit + limit / 5);
}
