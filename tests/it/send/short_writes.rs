//! Thousands of writes that the socket takes in part. Room that appears after
//! one of them is an event, although no write has returned `WouldBlock`.

use std::io::Read;
use std::net::TcpStream;
use std::thread;

use peerloop::config::SendQueueConfig;
use peerloop::{Config, ConnId, ConnMap, Handler, Net, Node, SendError};

use crate::util::raw::connect_narrow;
use crate::util::{PATIENCE, config_with};

const KIB: usize = 1024;
const PEERS: usize = 4;

/// Sends as many messages of this length to each peer.
struct Source {
    len: usize,
    messages: usize,
    left: ConnMap<usize>,
    ended: usize,
}

impl Handler for Source {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.left.insert(conn, self.messages);
        self.on_drain(net, conn);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        let left = &mut self.left[conn];
        while *left > 0 && net.is_writable(conn) {
            match net.send(conn, vec![*left as u8; self.len]) {
                Ok(()) => *left -= 1,
                Err(error) => return assert_eq!(error, SendError::Full),
            }
        }
        if *left == 0 {
            net.close(conn);
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, _: peerloop::DisconnectReason) {
        self.ended += 1;
    }
}

/// Reads to the end in pieces that vary, and returns the number of bytes.
fn read_all(mut peer: TcpStream, seed: usize) -> usize {
    let mut buffer = vec![0; 16 * KIB];
    let (mut total, mut piece) = (0, seed);
    loop {
        piece = (piece * 31 + 7) % (12 * KIB);
        match peer.read(&mut buffer[..=piece]).expect("bytes or the end") {
            0 => return total,
            count => total += count,
        }
        if piece % 5 == 0 {
            thread::yield_now();
        }
    }
}

fn short_writes_stall_nothing(len: usize, messages: usize, change: impl FnOnce(&mut Config)) {
    let config = config_with(|config| {
        config.sockets.send_buffer_bytes = Some(16 * KIB);
        // A connection that misses an event stays as it is.
        config.connection.timeouts.write_stall = None;
        config.connection.timeouts.linger = Some(PATIENCE);
        change(config);
    });
    let source = Source {
        len,
        messages,
        left: ConnMap::new(),
        ended: 0,
    };
    let mut node = Node::new(config, source).expect("a node");
    let addr = node.net().listen("127.0.0.1:0").expect("a listener").addr;
    let peers: Vec<_> = (0..PEERS)
        .map(|seed| thread::spawn(move || read_all(connect_narrow(addr), seed)))
        .collect();
    let end = node.run_until(PATIENCE, |source, _| source.ended == PEERS);
    assert_eq!(end.expect("turns"), peerloop::RunEnd::Done);
    for peer in peers {
        assert_eq!(peer.join().expect("it read"), messages * (4 + len));
    }
    let metrics = node.net().metrics();
    println!("{} short writes", metrics.partial_writes);
    assert!(metrics.partial_writes > 200, "{}", metrics.partial_writes);
}

#[test]
fn short_writes_of_one_slice_stall_nothing() {
    short_writes_stall_nothing(1000, 8000, |_| {});
}

/// Bodies of 20 KiB are referenced, and each has two slices.
#[test]
fn short_writes_of_many_slices_stall_nothing() {
    short_writes_stall_nothing(20 * KIB, 400, |_| {});
}

/// Memory is always short, so that the first queue has more small blocks than a
/// write has slices.
#[test]
fn short_writes_of_small_blocks_stall_nothing() {
    short_writes_stall_nothing(1000, 8000, |config| {
        config.limits.loop_send_bytes = 1024 * KIB;
        config.connection.send_queue = SendQueueConfig {
            low_bytes: 300 * KIB,
            high_bytes: 600 * KIB,
            max_bytes: 1024 * KIB,
            ..SendQueueConfig::default()
        };
        config.budget.write_bytes = 600 * KIB;
    });
}
