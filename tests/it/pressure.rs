//! Under pressure: peers that read slowly or not at all, queues that are full, framers that break, and callers that
//! come too late.

use peerloop::config::{
    CommandQueueConfig, ConnectionConfig, Limits, OnFull, SendQueueConfig, SocketConfig, Timeouts,
};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::util::raw::{
    accepted, connect, connect_narrow, feed, join, reset, settle, until_ended, wire,
};
use crate::util::{Event, PATIENCE, Recorder, TestNode, listening, node, run_until};
use peerloop::error::{FramingError, TimeoutKind};
use peerloop::framing::{Decoded, Framer, Framing};
use peerloop::{Bytes, Config, ConnId, ConnMap, DisconnectReason, Handler, Net, Node, SendError};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The time that the deadline under test has.
const TIME: Duration = Duration::from_millis(300);

/// Sockets that take little, and a loop with room for what one connection may have queued.
fn narrow_config() -> Config {
    Config {
        sockets: SocketConfig {
            send_buffer_bytes: Some(8 * KIB),
            ..Default::default()
        },
        connection: ConnectionConfig {
            send_queue: SendQueueConfig {
                low_bytes: 16 * KIB,
                high_bytes: 64 * KIB,
                max_bytes: MIB,
                ..Default::default()
            },
            ..Default::default()
        },
        limits: Limits {
            loop_send_bytes: MIB,
            ..Default::default()
        },
        ..Config::default()
    }
}

/// One more peer for which the kernel keeps little.
fn join_narrow(node: &mut TestNode, addr: SocketAddr) -> (ConnId, TcpStream) {
    let peer = connect_narrow(addr);
    (accepted(node), peer)
}

/// What is queued on a connection.
fn queued(node: &mut TestNode, conn: ConnId) -> usize {
    let connection = node.net().connection(conn);
    connection.map_or(0, |connection| connection.queued_bytes())
}

// Peers that read slowly.

#[test]
fn a_peer_that_takes_nothing_after_a_close_is_ended_for_its_stall() {
    let config = Config {
        connection: ConnectionConfig {
            timeouts: Timeouts {
                write_stall: Some(TIME),
                linger: None,
                ..Timeouts::default()
            },
            ..narrow_config().connection
        },
        ..narrow_config()
    };
    let handler = Recorder::reacting(|net, event| {
        if let Event::Connect(conn) = event {
            net.send(*conn, &[7; MIB / 2]).expect("the queue has room");
            net.close(*conn);
        }
    });
    let (mut node, addr) = listening(config, handler);
    let (conn, _peer) = join_narrow(&mut node, addr);
    let reason = until_ended(&mut node, conn);
    assert_eq!(reason, DisconnectReason::Timeout(TimeoutKind::WriteStall));
}

#[test]
fn a_peer_that_takes_less_than_the_poller_tells_of_is_not_ended_for_a_stall() {
    let config = Config {
        connection: ConnectionConfig {
            send_queue: SendQueueConfig {
                max_bytes: 64 * MIB,
                ..Default::default()
            },
            timeouts: Timeouts {
                write_stall: Some(TIME),
                ..Timeouts::default()
            },
            ..Default::default()
        },
        ..Config::default()
    };
    let (mut node, addr) = listening(config, Recorder::default());
    let (conn, mut peer) = join_narrow(&mut node, addr);
    for _ in 0..16 {
        node.net().send(conn, &[7; MIB]).unwrap();
    }
    settle(&mut node);
    for _ in 0..3 {
        let before = queued(&mut node, conn);
        // Much less than a third of the node's socket.
        peer.read_exact(&mut [0; 256 * KIB]).unwrap();
        run_until([&mut node], |[node]| {
            queued(node, conn) < before || node.handler().ended(conn).is_some()
        });
        assert_eq!(node.handler().ended(conn), None);
    }
}

#[test]
fn a_resume_does_not_give_a_connection_that_is_closing_more_time() {
    let config = Config {
        connection: ConnectionConfig {
            timeouts: Timeouts {
                linger: Some(TIME),
                ..Timeouts::default()
            },
            ..Default::default()
        },
        ..Config::default()
    };
    let (mut node, conn, _peer) = wire(config, Recorder::default());
    node.net().close(conn);
    run_until([&mut node], |[node]| {
        node.net().pause(conn);
        node.net().resume(conn);
        node.handler().ended(conn).is_some()
    });
}

#[test]
fn a_reset_is_noticed_during_a_pause_although_half_a_message_is_kept() {
    let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
    feed(&mut node, &mut peer, b"\0\0\0\x09half");
    node.net().pause(conn);
    reset(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Reset);
}

#[cfg(target_os = "linux")]
mod slow_readers {
    use super::*;
    use crate::util::child::{self, test_path};

    /// Bytes of memory that this process uses.
    fn memory() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
        let used = pages.split_whitespace().nth(1).expect("a second number");
        4096 * used.parse::<usize>().expect("a number")
    }

    #[test]
    fn hold_no_more_memory_than_some_times_what_is_queued() {
        // The memory of other tests would be measured too.
        let test = test_path!(hold_no_more_memory_than_some_times_what_is_queued);
        child::alone(test, measure_slow_readers);
    }

    /// Sends these peers something, of which each reads all but a small part.
    fn read_most(node: &mut TestNode, peers: &mut [(ConnId, TcpStream)]) {
        for (conn, peer) in &mut *peers {
            peer.set_nonblocking(true).unwrap();
            for _ in 0..250 {
                node.net().send(*conn, &[7; 1000]).unwrap();
            }
        }
        let mut buffer = [0; 8 * KIB];
        run_until([node], |[node]| {
            let mut are_done = true;
            for (conn, peer) in &mut *peers {
                if queued(node, *conn) > 20_000 {
                    are_done = false;
                    // The socket may be empty until the node has been run again.
                    let _ = peer.read(&mut buffer);
                }
            }
            are_done
        });
    }

    fn measure_slow_readers() {
        const PEERS: usize = 100;
        let config = Config {
            connection: ConnectionConfig {
                send_queue: SendQueueConfig {
                    high_bytes: 256 * KIB,
                    ..narrow_config().connection.send_queue
                },
                ..narrow_config().connection
            },
            limits: Limits {
                loop_send_bytes: 256 * MIB,
                ..narrow_config().limits
            },
            ..narrow_config()
        };
        let (mut node, addr) = listening(config, Recorder::default());
        let mut peers: Vec<(ConnId, TcpStream)> =
            (0..PEERS).map(|_| join_narrow(&mut node, addr)).collect();
        let before = memory();
        // A few at a time, since memory that was used once may stay with the process.
        for some in peers.chunks_mut(5) {
            read_most(&mut node, some);
        }
        let queued = node.net().metrics().queued_bytes;
        let used = memory().saturating_sub(before);
        assert!(used < 4 * queued + 8 * MIB, "{used} for {queued} bytes");
    }
}

// Full queues.

#[test]
fn who_was_refused_more_than_the_loop_has_room_for_hears_of_no_drain_until_it_fits() {
    const BODY: &[u8] = &[7; 6 * MIB];
    let config = Config {
        connection: ConnectionConfig {
            send_queue: SendQueueConfig {
                max_bytes: 8 * MIB,
                ..narrow_config().connection.send_queue
            },
            ..narrow_config().connection
        },
        limits: Limits {
            loop_send_bytes: 8 * MIB,
            ..narrow_config().limits
        },
        ..narrow_config()
    };
    let handler = Recorder::reacting(|net, event| {
        if let Event::Drain(conn) = event {
            let _ = net.send(*conn, BODY);
        }
    });
    let (mut node, addr) = listening(config, handler);
    let (blocked, _blocked_peer) = join_narrow(&mut node, addr);
    let (other, _other_peer) = join_narrow(&mut node, addr);
    node.net().send(blocked, &BODY[..3 * MIB]).unwrap();
    settle(&mut node);
    assert_eq!(node.net().send(other, BODY), Err(SendError::Full));
    for _ in 0..20 {
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
    }
    let drains = node.net().metrics().drains;
    assert_eq!(drains, 0, "it still does not fit");
    node.net().abort(blocked);
    run_until([&mut node], |[node]| {
        node.handler().events.contains(&Event::Drain(other))
    });
    assert!(queued(&mut node, other) > 0, "now it does");
}

#[test]
fn a_full_loop_refuses_a_writable_connection_and_owes_it_a_drain() {
    let (mut node, addr) = listening(narrow_config(), Recorder::default());
    let (blocked, _blocked_peer) = join_narrow(&mut node, addr);
    let (other, _other_peer) = join_narrow(&mut node, addr);
    let (silent, _silent_peer) = join_narrow(&mut node, addr);
    while node.net().send(blocked, &[7; 1000]).is_ok() {
        settle(&mut node);
    }
    assert!(!node.net().is_writable(blocked));
    // Their own queues are empty. To be asked owes them nothing, to be refused does.
    assert!(node.net().is_writable(other) && node.net().is_writable(silent));
    let body = [7; 700 * KIB];
    assert_eq!(node.net().send(other, &body), Err(SendError::Full));
    assert!(node.net().is_writable(other));
    settle(&mut node);
    assert_eq!(node.net().metrics().drains, 0, "it still does not fit");
    node.net().abort(blocked);
    let is_drain = |event: &Event| matches!(event, Event::Drain(_));
    run_until([&mut node], |[node]| node.handler().count(is_drain) > 0);
    node.net().send(other, &body).unwrap();
    settle(&mut node);
    assert!(node.handler().events.contains(&Event::Drain(other)));
    assert_eq!(node.handler().count(is_drain), 1);
}

#[test]
fn two_that_are_refused_are_served_in_order() {
    let handler = Recorder::reacting(|net, event| {
        if let Event::Drain(conn) = event {
            net.send(*conn, &[7; 400 * KIB]).expect("it is its turn");
        }
    });
    let (mut node, addr) = listening(narrow_config(), handler);
    let [
        (blocked, _blocked_peer),
        (first, _first_peer),
        (second, _second_peer),
    ] = [(); 3].map(|()| join_narrow(&mut node, addr));
    // More than the sockets take, so that their queues are not empty.
    for conn in [first, second] {
        node.net().send(conn, &[7; 50 * KIB]).unwrap();
    }
    node.net().send(blocked, &[7; 500 * KIB]).unwrap();
    settle(&mut node);
    for conn in [second, first] {
        let sent = node.net().send(conn, &[7; 400 * KIB]);
        assert_eq!(sent, Err(SendError::Full));
    }
    settle(&mut node);
    assert_eq!(node.net().metrics().drains, 0);
    // Room for one of them. The other one waits, although it was refused no more.
    node.net().abort(blocked);
    settle(&mut node);
    let drains = |node: &TestNode| -> Vec<ConnId> {
        let events = node.handler().events.iter();
        let drain = |event: &Event| match event {
            Event::Drain(conn) => Some(*conn),
            _ => None,
        };
        events.filter_map(drain).collect()
    };
    assert_eq!(drains(&node), [second]);
    // While it waits, no other queue grows.
    let more = node.net().send(second, &[7; 100 * KIB]);
    assert_eq!(more, Err(SendError::Full));
    node.net().abort(second);
    settle(&mut node);
    assert_eq!(drains(&node), [second, first]);
}

#[test]
fn a_queue_that_overflows_is_ended_for_that() {
    let config = Config {
        connection: ConnectionConfig {
            send_queue: SendQueueConfig {
                on_full: OnFull::Disconnect,
                ..narrow_config().connection.send_queue
            },
            ..narrow_config().connection
        },
        limits: Limits {
            loop_send_bytes: 4 * MIB,
            ..narrow_config().limits
        },
        ..narrow_config()
    };
    let (mut node, addr) = listening(config, Recorder::default());
    let (slow, _slow_peer) = join_narrow(&mut node, addr);
    // More often than the queue takes it, and what the sockets may take beside.
    for _ in 0..20 {
        let _ = node.net().send(slow, &[7; 100 * KIB]);
        settle(&mut node);
    }
    let reason = node.handler().ended(slow);
    assert_eq!(reason, Some(DisconnectReason::SendQueueFull));
}

// Callers that come too late, or from the wrong place.

#[test]
fn a_handle_to_a_node_that_is_gone_does_not_call_its_queue_full() {
    let config = Config {
        commands: CommandQueueConfig {
            max_bytes: 10,
            ..Default::default()
        },
        ..Config::default()
    };
    let node = node(config, Recorder::default());
    let handle = node.handle();
    let conn = ConnId::from_bits(1 << 32).expect("a slot and a generation");
    let body = Bytes::from_static(b"12345678");
    handle.send(conn, body.clone()).unwrap();
    assert_eq!(handle.send(conn, body.clone()), Err(SendError::Full));
    drop(node);
    assert_eq!(handle.send(conn, body), Err(SendError::Closed));
}

/// A handler that runs another node inside its own callback.
struct Outer {
    inner: Option<TestNode>,
}

impl Handler for Outer {
    fn on_start(&mut self, _: &mut Net) {
        settle(
            self.inner
                .as_mut()
                .expect("it is set before the first turn"),
        );
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

#[test]
fn to_ask_a_node_from_one_that_runs_inside_its_callback_is_a_deadlock_and_says_so() {
    let (answer, answers) = mpsc::channel();
    // It would wait for ever if it did wait.
    thread::spawn(move || {
        let mut outer = Node::new(Config::default(), Outer { inner: None }).unwrap();
        let handle = outer.handle();
        let handler = Recorder::reacting(move |_, event| {
            if let Event::Start = event {
                let asked = handle.ask(|_, _| ());
                let _ = answer.send(asked.map_err(|error| error.kind()));
            }
        });
        outer.handler_mut().inner = Some(node(Config::default(), handler));
        let _ = outer.turn(Some(Duration::ZERO)).unwrap();
    });
    let answer = answers.recv_timeout(PATIENCE);
    assert_eq!(answer, Ok(Err(ErrorKind::Deadlock)));
}

#[test]
fn a_late_value_for_a_stale_id_does_not_take_the_place_of_a_live_one() {
    let [stale, live] = [1 << 32 | 5, 2 << 32 | 5].map(|bits| ConnId::from_bits(bits).unwrap());
    let mut map = ConnMap::new();
    assert_eq!(map.insert(stale, "first"), None);
    map.insert(live, "second");
    assert_eq!(map.insert(stale, "too late"), Some("too late"));
    assert_eq!((map.get(stale), map.get(live)), (None, Some(&"second")));
    assert_eq!(map.len(), 1);
}

// Framers that break.

/// Makes one message of everything that was read.
struct OneMessage;

impl Framer for OneMessage {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let len = bytes.len();
        Ok(Decoded::Frame {
            body: 0..len,
            consumed: len,
        })
    }

    fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend_from_slice(body);
        Ok(())
    }
}

/// A framing that cannot make a framer once it is broken.
fn brittle(is_broken: &Arc<AtomicBool>) -> Framing {
    let is_broken = Arc::clone(is_broken);
    Framing::custom(move || {
        if is_broken.load(Ordering::Relaxed) {
            // Without the message and the trace, which belong to no failure.
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        OneMessage
    })
}

#[test]
fn a_framer_that_panics_when_a_peer_is_accepted_costs_that_peer_only() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let config = Config {
        connection: ConnectionConfig {
            framing: brittle(&is_broken),
            ..Default::default()
        },
        limits: Limits {
            // A charge that is not given back keeps the next peer out.
            max_connections_per_address: 1,
            ..Default::default()
        },
        ..Config::default()
    };
    let (mut node, addr) = listening(config, Recorder::default());
    is_broken.store(true, Ordering::Relaxed);
    let mut lost = connect(addr);
    run_until([&mut node], |[node]| node.net().metrics().panics > 0);
    assert_eq!(lost.read(&mut [0]).ok(), Some(0));
    is_broken.store(false, Ordering::Relaxed);
    let (conn, mut peer) = join(&mut node, addr);
    feed(&mut node, &mut peer, b"hello");
    assert_eq!(node.handler().messages(conn), [b"hello"]);
}

#[test]
fn a_framer_that_panics_in_a_connect_leaves_nothing_of_that_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let is_broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&is_broken);
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Start = event {
            let mut options = net.connect_options();
            options.connection_mut().framing = brittle(&breaks);
            breaks.store(true, Ordering::Relaxed);
            let _ = net.connect_with(addr, options);
        }
    });
    let mut node = node(Config::default(), handler);
    settle(&mut node);
    assert_eq!(node.net().metrics().panics, 1);
    assert_eq!(node.net().connecting_count(), 0);
    let conn = node.net().connect(addr).expect("it is no duplicate");
    run_until([&mut node], |[node]| node.handler().connected() == [conn]);
}
