//! What a loop owes its peers that was held up, is run by another loop, or is told to stop in the middle of its work.

use peerloop::config::{ConnectionConfig, Timeouts, TurnBudget};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::util::raw::{connect, feed, settle, wire};
use crate::util::{
    Event, PATIENCE, Recorder, TestNode, listening, node, run_until, unlimited_time,
};
use peerloop::{Bytes, Config, ConnId, Handler, Net, Node, Turn};

/// More peers than one wait of the poller reports.
const CROWD: usize = 1100;

/// A message of one byte as the default framing has it on the wire.
const FRAME: &[u8] = b"\0\0\0\x01x";

/// Time passes in which nobody runs the node: the process was stopped, or the loop around it was busy.
fn hold_up(time: Duration) {
    thread::sleep(time);
}

fn with_timeouts(timeouts: Timeouts) -> Config {
    Config {
        connection: ConnectionConfig {
            timeouts,
            ..Default::default()
        },
        budget: unlimited_time(),
        ..Config::default()
    }
}

/// A node with a crowd of peers, about all of which everything that the poller had to say was said.
fn crowd(config: Config, handler: Recorder) -> (TestNode, Vec<TcpStream>) {
    let mut config = config;
    config.limits.max_connections_per_address = CROWD;
    let (mut node, addr) = listening(config, handler);
    let mut peers = Vec::with_capacity(CROWD);
    while peers.len() < CROWD {
        peers.extend((0..100).map(|_| connect(addr)));
        run_until([&mut node], |[node]| {
            node.net().connection_count() == peers.len()
        });
    }
    settle(&mut node);
    (node, peers)
}

fn messages(node: &TestNode) -> usize {
    node.handler()
        .count(|event| matches!(event, Event::Message(..)))
}

fn ends(node: &TestNode) -> usize {
    node.handler()
        .count(|event| matches!(event, Event::Disconnect(..)))
}

/// Like `Node::run`, with a bound.
fn run_to_the_end<H: Handler>(node: &mut Node<H>) {
    let end = Instant::now() + PATIENCE;
    while node.turn(Some(Duration::from_millis(1))).unwrap() != Turn::Stopped {
        assert!(Instant::now() < end, "it does not stop");
    }
}

// Held up.

#[test]
fn a_crowd_that_spoke_in_time_is_heard_before_anybody_is_called_idle() {
    let idle = Duration::from_secs(1);
    let config = with_timeouts(Timeouts {
        idle: Some(idle),
        ..Timeouts::default()
    });
    // Nobody is idle during a pause, however long it takes to connect them all.
    let handler = Recorder::reacting(|net, event| {
        if let Event::Connect(conn) = event {
            net.pause(*conn);
        }
    });
    let (mut node, mut peers) = crowd(config, handler);
    for conn in node.handler().connected() {
        node.net().resume(conn);
    }
    settle(&mut node);
    for peer in &mut peers {
        peer.write_all(FRAME).unwrap();
    }
    hold_up(idle);
    settle(&mut node);
    assert_eq!((messages(&node), ends(&node)), (CROWD, 0));
}

#[test]
fn a_message_that_came_in_time_is_not_called_partial_while_it_waits_for_our_read_budget() {
    const LEN: usize = 64 * 1024;
    let partial_message = Duration::from_millis(500);
    let mut config = with_timeouts(Timeouts {
        partial_message: Some(partial_message),
        ..Timeouts::default()
    });
    config.budget.read_bytes = LEN / 4;
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    feed(&mut node, &mut peer, &(LEN as u32).to_be_bytes());
    peer.write_all(&[7; LEN]).unwrap();
    hold_up(partial_message);
    run_until([&mut node], |[node]| messages(node) + ends(node) > 0);
    assert_eq!(node.handler().messages(conn), [[7; LEN]]);
    assert_eq!(node.handler().ended(conn), None);
}

#[test]
fn a_connect_that_was_asked_for_long_before_the_loop_ran_has_all_its_time() {
    let connect = Duration::from_millis(300);
    let config = with_timeouts(Timeouts {
        connect: Some(connect),
        ..Timeouts::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = node(config, Recorder::default());
    let conn = node.net().connect(listener.local_addr().unwrap()).unwrap();
    hold_up(connect);
    run_until([&mut node], |[node]| {
        node.handler()
            .count(|event| matches!(event, Event::Connect(_) | Event::ConnectFailed(..)))
            > 0
    });
    assert_eq!(node.handler().connected(), [conn]);
}

// Run by another loop.

#[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
#[test]
fn an_edge_triggered_loop_around_the_node_is_not_left_waiting_for_the_rest_of_a_crowd() {
    use mio::{Events, Interest, Poll, Token};

    let (mut node, mut peers) = crowd(Config::default(), Recorder::default());
    let mut outside = Poll::new().unwrap();
    // Any descriptor can be watched through a type that only registers it.
    let watched = node.as_fd().try_clone_to_owned().unwrap();
    let mut watched = mio::net::TcpStream::from_std(TcpStream::from(watched));
    outside
        .registry()
        .register(&mut watched, Token(0), Interest::READABLE)
        .unwrap();
    for peer in &mut peers {
        peer.write_all(FRAME).unwrap();
    }
    let mut events = Events::with_capacity(1);
    while messages(&node) < CROWD {
        outside.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "{} were heard", messages(&node));
        // As the documentation says: for as long as the node has more to do at once.
        settle(&mut node);
    }
}

/// Tells its peers something new in every turn.
#[derive(Default)]
struct Broadcaster {
    conn: Option<ConnId>,
}

impl Handler for Broadcaster {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.conn = Some(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_turn(&mut self, net: &mut Net) {
        if let Some(conn) = self.conn {
            net.send(conn, b"state").expect("the queue has room");
            net.flush(conn);
        }
    }
}

#[test]
fn a_flush_asked_for_in_on_turn_is_done_in_that_turn() {
    let mut node = Node::new(Config::default(), Broadcaster::default()).unwrap();
    let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
    let _peer = connect(addr);
    let end = Instant::now() + PATIENCE;
    while node.handler().conn.is_none() {
        assert!(Instant::now() < end, "it does not connect");
        let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
    }
    // A few turns more for what the poller has to say about a new socket.
    let mut turns = (0..10).map(|_| node.turn(Some(Duration::ZERO)).unwrap());
    assert!(turns.any(|turn| turn == Turn::Waiting), "it is always busy");
}

// Told to stop.

/// What a peer hears of a handler that answers a message and shuts the node down without any grace.
fn last_words<H: Handler>(handler: H) -> Vec<u8> {
    let mut node = Node::new(Config::default(), handler).unwrap();
    let mut peer = connect(node.net().listen("127.0.0.1:0").unwrap().addr);
    peer.write_all(FRAME).unwrap();
    run_to_the_end(&mut node);
    let mut heard = Vec::new();
    // The end may be a reset; what was sent before it comes first.
    let _ = peer.read_to_end(&mut heard);
    heard
}

/// Answers once, and leaves at the end of that turn.
#[derive(Default)]
struct Leaver {
    has_answered: bool,
}

impl Handler for Leaver {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, _: &[u8]) {
        net.send(conn, b"bye").expect("the queue has room");
        self.has_answered = true;
    }

    fn on_turn(&mut self, net: &mut Net) {
        if self.has_answered {
            net.shutdown(Duration::ZERO);
        }
    }
}

#[test]
fn a_shutdown_without_grace_lets_the_turn_send_what_it_had_to_say() {
    let in_on_message = Recorder::reacting(|net, event| {
        if let Event::Message(conn, _) = event {
            net.send(*conn, b"bye").expect("the queue has room");
            net.shutdown(Duration::ZERO);
        }
    });
    assert_eq!(last_words(in_on_message), b"\0\0\0\x03bye");
    let in_on_turn = Leaver::default();
    assert_eq!(last_words(in_on_turn), b"\0\0\0\x03bye");
}

#[test]
fn messages_given_to_a_handle_before_its_shutdown_are_all_sent() {
    const COUNT: usize = 100;
    let config = Config {
        budget: TurnBudget {
            commands: COUNT / 10,
            ..Default::default()
        },
        ..Config::default()
    };
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    let handle = node.handle();
    for _ in 0..COUNT {
        handle.send(conn, Bytes::from_static(b"x")).unwrap();
    }
    handle.shutdown(PATIENCE);
    let reader = thread::spawn(move || {
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).map(|_| heard)
    });
    run_to_the_end(&mut node);
    assert_eq!(reader.join().unwrap().unwrap(), FRAME.repeat(COUNT));
    assert_eq!(node.net().metrics().commands_lost, 0);
}

#[test]
fn a_call_posted_before_a_handles_shutdown_may_still_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut node = node(Config::default(), Recorder::default());
    let (handle, (connected, outcome)) = (node.handle(), mpsc::channel());
    let call = move |_: &mut Recorder, net: &mut Net| {
        let _ = connected.send(net.connect(addr).map(|_| ()));
    };
    handle.post(call).unwrap();
    handle.shutdown(PATIENCE);
    run_to_the_end(&mut node);
    assert_eq!(outcome.try_recv(), Ok(Ok(())));
}
