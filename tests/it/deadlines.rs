//! What a connection may take its time for, and what becomes of it when that is over.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::util::raw::{accepted, connect, connect_narrow, feed, join, settle, until_ended, wire};
use crate::util::{Event, PATIENCE, Recorder, TestNode, listening, node, run_for, run_until};
use peerloop::config::{ConnectionConfig, MinRate, Timeouts};
use peerloop::error::TimeoutKind;
use peerloop::{Config, ConnId, ConnectError, DisconnectReason, Net};
use socket2::{Domain, Socket, Type};

/// The time that the deadline under test has.
const TIME: Duration = Duration::from_millis(300);

/// No deadline at all.
const OFF: Timeouts = Timeouts {
    connect: None,
    idle: None,
    partial_message: None,
    write_stall: None,
    linger: None,
    handshake: None,
};

const NO_RATE: MinRate = MinRate {
    receive_bytes_per_second: None,
    send_bytes_per_second: None,
    after: TIME,
};

const IDLE: Timeouts = Timeouts {
    idle: Some(TIME),
    ..OFF
};

const PARTIAL_FRAME: Timeouts = Timeouts {
    partial_message: Some(TIME),
    ..OFF
};

const WRITE_STALL: Timeouts = Timeouts {
    write_stall: Some(TIME),
    ..OFF
};

const LINGER: Timeouts = Timeouts {
    linger: Some(TIME),
    ..OFF
};

/// A message of one byte as the default framing has it on the wire.
const FRAME: &[u8] = b"\0\0\0\x01x";

/// The beginning of a message that is as long as one may be.
const LONG_HEADER: &[u8] = &(8u32 << 20).to_be_bytes();

/// What is queued for a connection; nothing for one that has ended.
fn queued_bytes(net: &Net, conn: ConnId) -> usize {
    net.connection(conn).map_or(0, |conn| conn.queued_bytes())
}

fn config(timeouts: Timeouts) -> Config {
    Config {
        connection: ConnectionConfig {
            timeouts,
            min_rate: NO_RATE,
            ..Default::default()
        },
        ..Config::default()
    }
}

/// What was counted: connect, idle, partial frame, write stall, linger.
fn counted(node: &mut TestNode) -> [u64; 5] {
    let metrics = node.net().metrics();
    [
        metrics.connect_timeouts,
        metrics.idle_timeouts,
        metrics.partial_message_timeouts,
        metrics.write_stall_timeouts,
        metrics.linger_timeouts,
    ]
}

/// Runs the node until the connection ends; it must be by this deadline, and not before `TIME` is over.
#[track_caller]
fn assert_times_out(node: &mut TestNode, conn: ConnId, phase: TimeoutKind, since: Instant) {
    let reason = until_ended(node, conn);
    assert_eq!(reason, DisconnectReason::Timeout(phase));
    assert!(since.elapsed() >= TIME, "{:?}", since.elapsed());
}

/// One turn, in which what was just written is read. What is read in a turn counts before its deadlines do, so that a
/// test that is held up fails nobody.
fn turn(node: &mut TestNode) {
    let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
}

mod idle {
    use super::*;

    #[test]
    fn a_silent_peer_is_ended_and_not_too_early() {
        let begun = Instant::now();
        let (mut node, conn, mut peer) = wire(config(IDLE), Recorder::default());
        assert_times_out(&mut node, conn, TimeoutKind::Idle, begun);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        assert_eq!(counted(&mut node), [0, 1, 0, 0, 0]);
        assert_eq!(node.timeout(), None);
    }

    #[test]
    fn whole_messages_keep_a_connection_alive() {
        let (mut node, conn, mut peer) = wire(config(IDLE), Recorder::default());
        let begun = Instant::now();
        let mut last = begun;
        while begun.elapsed() < 2 * TIME {
            last = Instant::now();
            feed_now(&mut node, &mut peer, FRAME);
        }
        assert_eq!(node.handler().ended(conn), None);
        assert_times_out(&mut node, conn, TimeoutKind::Idle, last);
    }

    /// Writes, and waits in one turn until it was read.
    fn feed_now(node: &mut TestNode, peer: &mut TcpStream, bytes: &[u8]) {
        peer.write_all(bytes).unwrap();
        let _ = node.turn(Some(PATIENCE)).unwrap();
    }

    #[test]
    fn bytes_that_make_no_whole_message_do_not() {
        let begun = Instant::now();
        let (mut node, conn, mut peer) = wire(config(IDLE), Recorder::default());
        feed(&mut node, &mut peer, LONG_HEADER);
        while node.handler().ended(conn).is_none() {
            assert!(begun.elapsed() < PATIENCE, "it goes on for ever");
            // The node may be gone already.
            let _ = peer.write(b"x");
            turn(&mut node);
        }
        assert_times_out(&mut node, conn, TimeoutKind::Idle, begun);
        assert_eq!(counted(&mut node), [0, 1, 0, 0, 0]);
    }

    #[test]
    fn what_is_sent_keeps_a_connection_alive() {
        // Longer than others: what is sent leaves after the deadlines were looked at, so the test must keep time.
        let idle = 3 * TIME;
        let timeouts = Timeouts {
            idle: Some(idle),
            ..OFF
        };
        let (mut node, conn, mut peer) = wire(config(timeouts), Recorder::default());
        let begun = Instant::now();
        let mut last = begun;
        while begun.elapsed() < idle + TIME {
            last = Instant::now();
            node.net().send(conn, b"x").unwrap();
            turn(&mut node);
            peer.read_exact(&mut [0; 5]).unwrap();
        }
        assert_eq!(node.handler().ended(conn), None);
        until_ended(&mut node, conn);
        assert!(last.elapsed() >= idle);
    }

    #[test]
    fn the_time_of_a_pause_does_not_count() {
        let (mut node, conn, mut peer) = wire(config(IDLE), Recorder::default());
        node.net().pause(conn);
        peer.write_all(FRAME).unwrap();
        run_for(2 * TIME, [&mut node]);
        assert_eq!(node.handler().ended(conn), None);
        let resumed = Instant::now();
        node.net().resume(conn);
        assert_times_out(&mut node, conn, TimeoutKind::Idle, resumed);
        assert_eq!(node.handler().messages(conn), [b"x"]);
    }

    #[test]
    fn a_listener_and_a_connect_have_their_own() {
        let (mut node, patient) = listening(config(OFF), Recorder::default());
        let mut options = node.net().listen_options();
        options.connection_mut().timeouts = IDLE;
        let hasty = node.net().listen_with("127.0.0.1:0", options).unwrap().addr;
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = node.net().connect_options();
        options.connection_mut().timeouts = IDLE;
        let there = other.local_addr().unwrap();
        let begun = Instant::now();
        let (stays, _peer) = join(&mut node, patient);
        let (goes, _other_peer) = join(&mut node, hasty);
        let connected = node.net().connect_with(there, options).unwrap();
        assert_times_out(&mut node, goes, TimeoutKind::Idle, begun);
        assert_times_out(&mut node, connected, TimeoutKind::Idle, begun);
        run_for(TIME, [&mut node]);
        assert_eq!(node.handler().ended(stays), None);
    }

    #[test]
    fn many_that_fall_due_together_all_end() {
        let (mut node, addr) = listening(config(IDLE), Recorder::default());
        let begun = Instant::now();
        let _peers: Vec<TcpStream> = (0..100).map(|_| connect(addr)).collect();
        let ends = |event: &Event| {
            matches!(
                event,
                Event::Disconnect(_, DisconnectReason::Timeout(TimeoutKind::Idle))
            )
        };
        run_until([&mut node], |[node]| node.handler().count(ends) == 100);
        assert!(begun.elapsed() >= TIME);
        assert_eq!(node.handler().connected().len(), 100);
        assert_eq!(counted(&mut node), [0, 100, 0, 0, 0]);
        assert_eq!((node.net().connection_count(), node.timeout()), (0, None));
    }

    #[test]
    fn one_that_was_set_does_not_end_who_has_the_slot_next() {
        let slot = |conn: ConnId| conn.to_string().split('.').next().map(str::to_owned);
        let (mut node, stale, _peer) = wire(config(IDLE), Recorder::default());
        let addr = node.net().listeners().next().unwrap().addr;
        run_for(TIME / 2, [&mut node]);
        node.net().abort(stale);
        until_ended(&mut node, stale);
        let begun = Instant::now();
        let (fresh, _peer) = join(&mut node, addr);
        assert_eq!(slot(stale), slot(fresh), "the slot is used again");
        assert_times_out(&mut node, fresh, TimeoutKind::Idle, begun);
    }
}

mod partial_message {
    use super::*;

    #[test]
    fn half_a_message_is_waited_for_and_not_too_short() {
        let (mut node, conn, mut peer) = wire(config(PARTIAL_FRAME), Recorder::default());
        let begun = Instant::now();
        feed(&mut node, &mut peer, &FRAME[..2]);
        assert_times_out(&mut node, conn, TimeoutKind::PartialMessage, begun);
        assert_eq!(counted(&mut node), [0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_byte_now_and_then_keeps_the_timeout_off_and_is_below_the_rate() {
        let mut config = config(PARTIAL_FRAME);
        config.connection.min_rate = MinRate {
            receive_bytes_per_second: Some(100 << 20),
            after: 2 * TIME,
            ..MinRate::default()
        };
        let (mut node, conn, mut peer) = wire(config, Recorder::default());
        let begun = Instant::now();
        feed(&mut node, &mut peer, LONG_HEADER);
        while node.handler().ended(conn).is_none() {
            assert!(begun.elapsed() < PATIENCE, "it goes on for ever");
            // The node may be gone already.
            let _ = peer.write(b"x");
            turn(&mut node);
        }
        assert!(begun.elapsed() >= 2 * TIME);
        assert_times_out(&mut node, conn, TimeoutKind::ReceiveRate, begun);
    }

    #[test]
    fn every_message_has_a_time_of_its_own() {
        let (mut node, conn, mut peer) = wire(config(PARTIAL_FRAME), Recorder::default());
        let begun = Instant::now();
        peer.write_all(&FRAME[..2]).unwrap();
        let mut last = begun;
        // Each piece ends one message and begins the next, so that there is always one that is not complete.
        let piece = [&FRAME[2..], &FRAME[..2]].concat();
        while begun.elapsed() < 2 * TIME {
            last = Instant::now();
            peer.write_all(&piece).unwrap();
            let _ = node.turn(Some(PATIENCE)).unwrap();
        }
        assert_eq!(node.handler().ended(conn), None);
        assert_times_out(&mut node, conn, TimeoutKind::PartialMessage, last);
    }

    #[test]
    fn between_two_messages_there_is_all_the_time() {
        let (mut node, conn, mut peer) = wire(config(PARTIAL_FRAME), Recorder::default());
        feed(&mut node, &mut peer, &FRAME[..2]);
        feed(&mut node, &mut peer, &FRAME[2..]);
        run_for(2 * TIME, [&mut node]);
        assert_eq!(node.handler().ended(conn), None);
        assert_eq!(counted(&mut node), [0; 5]);
    }

    #[test]
    fn the_time_of_a_pause_does_not_count() {
        let (mut node, conn, mut peer) = wire(config(PARTIAL_FRAME), Recorder::default());
        feed(&mut node, &mut peer, &FRAME[..2]);
        node.net().pause(conn);
        run_for(2 * TIME, [&mut node]);
        peer.write_all(&FRAME[2..]).unwrap();
        node.net().resume(conn);
        run_until([&mut node], |[node]| {
            node.handler().messages(conn) == [b"x"]
        });
        let begun = Instant::now();
        feed(&mut node, &mut peer, &FRAME[..2]);
        node.net().pause(conn);
        run_for(2 * TIME, [&mut node]);
        let resumed = Instant::now();
        node.net().resume(conn);
        assert_times_out(&mut node, conn, TimeoutKind::PartialMessage, resumed);
        assert!(begun.elapsed() >= 3 * TIME);
    }
}

mod write_stall {
    use super::*;

    /// Fewer bytes than this may be on their way between the node and a peer.
    fn narrow(timeouts: Timeouts) -> Config {
        let mut config = config(timeouts);
        config.sockets.send_buffer_bytes = Some(16 * 1024);
        config.connection.send_queue.max_bytes = 64 << 20;
        config
    }

    fn narrow_wire(timeouts: Timeouts) -> (TestNode, ConnId, TcpStream) {
        let (mut node, addr) = listening(narrow(timeouts), Recorder::default());
        let peer = connect_narrow(addr);
        let conn = accepted(&mut node);
        (node, conn, peer)
    }

    /// Queues more than the sockets hold.
    fn fill(node: &mut TestNode, conn: ConnId, bytes: usize) {
        let block = vec![7; 1 << 20];
        for _ in 0..bytes.div_ceil(block.len()) {
            node.net().send(conn, &block).unwrap();
        }
        settle(node);
        assert!(queued_bytes(node.net(), conn) > 0);
    }

    #[test]
    fn a_peer_that_takes_nothing_is_ended_and_not_too_early() {
        let (mut node, conn, _peer) = narrow_wire(WRITE_STALL);
        let begun = Instant::now();
        fill(&mut node, conn, 8 << 20);
        assert_times_out(&mut node, conn, TimeoutKind::WriteStall, begun);
        assert_eq!(counted(&mut node), [0, 0, 0, 1, 0]);
        let metrics = node.net().metrics();
        assert!(metrics.bytes_lost > 0);
        assert_eq!(metrics.queued_bytes, 0);
    }

    #[test]
    fn a_peer_that_takes_a_little_now_and_then_is_served_to_the_end() {
        let total: usize = 32 << 20;
        let mut config = narrow(WRITE_STALL);
        config.sockets.send_buffer_bytes = Some(256 * 1024);
        let (mut node, addr) = listening(config, Recorder::default());
        let (conn, mut peer) = join(&mut node, addr);
        fill(&mut node, conn, total);
        peer.set_nonblocking(true).unwrap();
        let begun = Instant::now();
        let mut buffer = vec![0; 256 * 1024];
        // The socket may be empty until the node has been run again.
        let mut take = || peer.read(&mut buffer).unwrap_or(0);
        let mut arrived = 0;
        // Slowly at first, for longer than the deadline, then all that is left.
        while begun.elapsed() < 2 * TIME {
            arrived += take();
            run_for(Duration::from_millis(10), [&mut node]);
        }
        assert!(queued_bytes(node.net(), conn) > 0);
        let wire = total + 4 * (total >> 20);
        run_until([&mut node], |_| {
            arrived += take();
            arrived == wire
        });
        assert_eq!(node.handler().ended(conn), None);
        assert_eq!(counted(&mut node), [0; 5]);
    }

    #[test]
    fn with_nothing_to_write_there_is_none() {
        let (mut node, conn, mut peer) = narrow_wire(WRITE_STALL);
        run_for(2 * TIME, [&mut node]);
        node.net().send(conn, b"x").unwrap();
        run_for(2 * TIME, [&mut node]);
        assert_eq!(node.handler().ended(conn), None);
        peer.read_exact(&mut [0; 5]).unwrap();
    }

    #[test]
    fn a_peer_that_talks_but_does_not_listen_is_ended_too() {
        let (mut node, conn, mut peer) = narrow_wire(WRITE_STALL);
        let begun = Instant::now();
        fill(&mut node, conn, 8 << 20);
        while node.handler().ended(conn).is_none() {
            assert!(begun.elapsed() < PATIENCE, "it goes on for ever");
            // The node may be gone already.
            let _ = peer.write(FRAME);
            turn(&mut node);
        }
        assert_times_out(&mut node, conn, TimeoutKind::WriteStall, begun);
    }

    #[test]
    fn while_something_is_queued_the_idle_deadline_waits() {
        let timeouts = Timeouts {
            idle: Some(TIME),
            ..OFF
        };
        let (mut node, conn, _peer) = narrow_wire(timeouts);
        fill(&mut node, conn, 8 << 20);
        run_for(2 * TIME, [&mut node]);
        assert_eq!(node.handler().ended(conn), None);
    }
}

mod linger {
    use super::*;

    #[test]
    fn a_listener_and_a_connect_have_their_own() {
        let (mut node, patient) = listening(config(OFF), Recorder::default());
        let mut options = node.net().listen_options();
        options.connection_mut().timeouts = LINGER;
        let hasty = node.net().listen_with("127.0.0.1:0", options).unwrap().addr;
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = node.net().connect_options();
        options.connection_mut().timeouts = LINGER;
        let there = other.local_addr().unwrap();
        let (stays, mut peer) = join(&mut node, patient);
        let (goes, _other_peer) = join(&mut node, hasty);
        let connected = node.net().connect_with(there, options).unwrap();
        run_until([&mut node], |[node]| {
            node.handler().connected().contains(&connected)
        });
        let begun = Instant::now();
        for conn in [stays, goes, connected] {
            node.net().close(conn);
        }
        for conn in [goes, connected] {
            // Nothing was left to write, so nothing was lost.
            assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
            assert!(begun.elapsed() >= TIME);
        }
        run_for(TIME, [&mut node]);
        assert_eq!(node.handler().ended(stays), None);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        drop(peer);
        assert_eq!(until_ended(&mut node, stays), DisconnectReason::Local);
        assert_eq!(counted(&mut node), [0; 5]);
    }

    #[test]
    fn what_was_left_to_write_is_counted_as_that_and_nothing_else() {
        let mut config = config(LINGER);
        config.sockets.send_buffer_bytes = Some(16 * 1024);
        let (mut node, addr) = listening(config, Recorder::default());
        let _peer = connect_narrow(addr);
        let conn = accepted(&mut node);
        node.net().send(conn, &vec![7; 4 << 20][..]).unwrap();
        let begun = Instant::now();
        node.net().close(conn);
        assert_times_out(&mut node, conn, TimeoutKind::Linger, begun);
        assert_eq!(counted(&mut node), [0, 0, 0, 0, 1]);
    }
}

mod connect {
    use super::*;

    #[test]
    fn a_connect_without_an_answer_is_counted_as_that_and_nothing_else() {
        let (_listener, addr, _crowd) = saturated();
        let timeouts = Timeouts {
            connect: Some(TIME),
            ..OFF
        };
        let mut node = node(config(timeouts), Recorder::default());
        let begun = Instant::now();
        let conn = node.net().connect(addr).unwrap();
        let failed = [
            Event::Start,
            Event::ConnectFailed(conn, ConnectError::TimedOut),
        ];
        run_until([&mut node], |[node]| node.handler().events == failed);
        assert!(begun.elapsed() >= TIME);
        assert_eq!(counted(&mut node), [1, 0, 0, 0, 0]);
    }

    #[test]
    fn one_that_was_met_is_not_held_against_the_connection() {
        let timeouts = Timeouts {
            connect: Some(TIME),
            ..OFF
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut node = node(config(timeouts), Recorder::default());
        let conn = node.net().connect(listener.local_addr().unwrap()).unwrap();
        run_until([&mut node], |[node]| node.handler().connected() == [conn]);
        assert_eq!(node.timeout(), None);
        run_for(2 * TIME, [&mut node]);
        assert_eq!(node.handler().ended(conn), None);
    }

    /// A listener whose queue is full, so that a connect to it is never answered; and what fills it.
    fn saturated() -> (Socket, SocketAddr, Vec<TcpStream>) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        // It takes one, or a few if they are quick.
        let connect = || TcpStream::connect_timeout(&addr, Duration::from_millis(50)).ok();
        let crowd: Vec<TcpStream> = std::iter::from_fn(connect).take(20).collect();
        assert!(crowd.len() < 20, "the queue has a limit");
        (listener, addr, crowd)
    }
}

#[test]
fn with_all_deadlines_off_none_is_set_in_any_state() {
    let mut config = config(OFF);
    config.sockets.send_buffer_bytes = Some(16 * 1024);
    let (mut node, addr) = listening(config, Recorder::default());
    let mut peer = connect_narrow(addr);
    let conn = accepted(&mut node);
    feed(&mut node, &mut peer, &FRAME[..2]);
    assert_eq!(node.timeout(), None);
    node.net().send(conn, &vec![7; 4 << 20][..]).unwrap();
    settle(&mut node);
    assert!(queued_bytes(node.net(), conn) > 0);
    assert_eq!(node.timeout(), None);
    node.net().close(conn);
    settle(&mut node);
    assert_eq!(node.timeout(), None);
    assert_eq!(node.handler().ended(conn), None);
}
