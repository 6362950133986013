//! Slow readers fill the send queues of the loop, while the node sends to an
//! honest peer.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use peerloop::config::{ConnectionConfig, Limits, SendQueueConfig, Timeouts};
use peerloop::{Config, ConnId, DisconnectReason, Handler, Net, Node, RunEnd, SendError, TimerId};
use socket2::{Domain, Socket, Type};

const KIB: usize = 1024;

/// The time of each scenario: the first slow readers are ended by their write
/// stall, where that is a second.
const TIME: Duration = Duration::from_secs(6);

/// How long the peers may take to connect.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends to everyone each millisecond.
struct Shouter {
    body: Vec<u8>,
    has_begun: bool,
    conns: Vec<ConnId>,
    honest: Option<ConnId>,
    honest_addr: SocketAddr,
    sent: usize,
    refused: usize,
    slow_refused: usize,
}

impl Handler for Shouter {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.conns.push(conn);
        let connection = net.connection(conn).expect("it is connected");
        if connection.info().addr == self.honest_addr {
            self.honest = Some(conn);
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
        assert_ne!(Some(conn), self.honest, "the honest peer was ended");
        self.conns.retain(|other| *other != conn);
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        if !self.has_begun {
            return;
        }
        for conn in &self.conns {
            let sent = net.send(*conn, &self.body);
            match sent {
                Ok(()) => self.sent += usize::from(Some(*conn) == self.honest),
                Err(error) => {
                    assert_eq!(error, SendError::Full);
                    if Some(*conn) == self.honest {
                        self.refused += 1;
                    } else {
                        self.slow_refused += 1;
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Slow {
    count: usize,
    /// Reads so much at a time,
    step: usize,
    /// and waits so long before.
    pause: Duration,
}

fn connect_slow(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(2048).expect("a socket");
    socket.connect(&addr.into()).expect("a listener");
    socket.into()
}

/// Reads up to a step after each pause, until the test ends or the stream does.
fn read_slowly(mut peer: TcpStream, slow: Slow, stop: &AtomicBool) {
    peer.set_nonblocking(true).expect("a socket");
    let mut buffer = vec![0; slow.step];
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(slow.pause);
        let (begun, mut left) = (Instant::now(), slow.step);
        while left > 0 && begun.elapsed() < Duration::from_millis(40) {
            match peer.read(&mut buffer[..left]) {
                Ok(0) => return,
                Ok(count) => left -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(_) => return,
            }
        }
    }
}

/// The honest peer reads all the time. Its sends are never refused.
fn honest_peer_is_never_refused(config: Config, slow: Slow, len: usize) {
    // Bound before it connects, so that the node has its address.
    let honest = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    honest
        .bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into())
        .expect("an address of the loopback");
    let honest_addr = honest.local_addr().expect("bound").as_socket();
    let handler = Shouter {
        body: vec![7; len],
        has_begun: false,
        conns: Vec::new(),
        honest: None,
        honest_addr: honest_addr.expect("an IPv4 address"),
        sent: 0,
        refused: 0,
        slow_refused: 0,
    };
    let mut node = Node::new(config, handler).expect("a node");
    let addr = node.net().listen("127.0.0.1:0").expect("a listener").addr;
    let _ = node.net().set_interval(Duration::from_millis(1), 0);
    let stop = Arc::new(AtomicBool::new(false));
    let received = Arc::new(AtomicUsize::new(0));
    let mut threads: Vec<_> = (0..slow.count)
        .map(|_| {
            let (peer, stop) = (connect_slow(addr), Arc::clone(&stop));
            thread::spawn(move || read_slowly(peer, slow, &stop))
        })
        .collect();
    honest.connect(&addr.into()).expect("a listener");
    let (mut honest, total) = (TcpStream::from(honest), Arc::clone(&received));
    threads.push(thread::spawn(move || {
        let mut buffer = vec![0; 64 * KIB];
        while let Ok(count @ 1..) = honest.read(&mut buffer) {
            total.fetch_add(count, Ordering::Relaxed);
        }
    }));
    let all = node.run_until(PATIENCE, |it, _| it.conns.len() == slow.count + 1);
    assert_eq!(all.expect("it runs"), RunEnd::Done);
    assert!(node.handler().honest.is_some());
    node.handler_mut().has_begun = true;
    let _ = node.run_for(TIME).expect("it runs");
    // A machine under load sends less in that time.
    let full = node.run_until(PATIENCE, |it, _| it.slow_refused > 1000);
    assert_eq!(full.expect("it runs"), RunEnd::Done);

    let metrics = node.net().metrics();
    let limit = node.net().config().limits.loop_send_bytes;
    let it = node.handler();
    println!(
        "honest: {} sent, {} refused; {} refused to slow readers; at most {} KiB of {}",
        it.sent,
        it.refused,
        it.slow_refused,
        metrics.max_queued_bytes / KIB,
        limit / KIB
    );
    assert!(it.sent > 0);
    assert_eq!(it.refused, 0, "the honest peer was refused");
    assert!(metrics.max_queued_bytes <= limit);
    stop.store(true, Ordering::Relaxed);
    drop(node);
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("it reads"));
    assert!(received.load(Ordering::Relaxed) > 0);
}

/// A loop that few slow readers fill.
fn small() -> Config {
    Config {
        connection: ConnectionConfig {
            send_queue: SendQueueConfig {
                low_bytes: 16 * KIB,
                high_bytes: 32 * KIB,
                max_bytes: 64 * KIB,
                ..Default::default()
            },
            timeouts: Timeouts {
                write_stall: Some(Duration::from_secs(1)),
                ..Timeouts::default()
            },
            ..Default::default()
        },
        limits: Limits {
            loop_send_bytes: 256 * KIB,
            ..Default::default()
        },
        ..Config::default()
    }
}

fn every_700_ms(count: usize, step: usize) -> Slow {
    Slow {
        count,
        step,
        pause: Duration::from_millis(700),
    }
}

#[test]
#[ignore = "timed: .ci/run bounds"]
fn slow_readers_of_2_kib_leave_room() {
    honest_peer_is_never_refused(small(), every_700_ms(4, 2 * KIB), 1024);
}

#[test]
#[ignore = "timed: .ci/run bounds"]
fn slow_readers_of_64_kib_leave_room() {
    honest_peer_is_never_refused(small(), every_700_ms(4, 64 * KIB), 1024);
}

#[test]
#[ignore = "timed: .ci/run bounds"]
fn eight_slow_readers_of_2_kib_leave_room() {
    honest_peer_is_never_refused(small(), every_700_ms(8, 2 * KIB), 1024);
}

#[test]
#[ignore = "timed: .ci/run bounds"]
fn seventy_slow_readers_with_defaults_leave_room() {
    let slow = Slow {
        count: 70,
        step: 64 * KIB,
        pause: Duration::from_secs(2),
    };
    honest_peer_is_never_refused(Config::default(), slow, 32 * KIB);
}
