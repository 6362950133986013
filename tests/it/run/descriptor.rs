//! The descriptor of a node in another poll loop.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::util::{Event, PATIENCE, Recorder, TestNode, frame, listening, raw};
use mio::{Events, Interest, Poll, Token};
use peerloop::Config;

/// A poll loop that watches the descriptor of a node.
struct OuterLoop {
    poll: Poll,
    events: Events,
    _watched: mio::net::TcpStream,
}

impl OuterLoop {
    fn watching(node: &TestNode) -> Self {
        let poll = Poll::new().unwrap();
        // mio can register any descriptor as a stream.
        let watched = node.as_fd().try_clone_to_owned().unwrap();
        let mut watched = mio::net::TcpStream::from_std(TcpStream::from(watched));
        let registry = poll.registry();
        registry
            .register(&mut watched, Token(0), Interest::READABLE)
            .unwrap();
        Self {
            poll,
            events: Events::with_capacity(8),
            _watched: watched,
        }
    }

    /// Waits at most this long until the descriptor is readable, and returns
    /// whether it is.
    fn wait(&mut self, timeout: Option<Duration>) -> bool {
        self.poll.poll(&mut self.events, timeout).unwrap();
        !self.events.is_empty()
    }
}

#[test]
fn descriptor_is_readable_when_a_turn_is_due() {
    let (mut node, addr) = listening(Config::default(), Recorder::default());
    let mut outer = OuterLoop::watching(&node);
    raw::settle(&mut node);
    outer.wait(Some(Duration::ZERO));
    assert!(!outer.wait(Some(Duration::ZERO)), "nothing is due");
    let mut peer = raw::connect(addr);
    assert!(outer.wait(Some(PATIENCE)), "a connection");
    raw::settle(&mut node);
    assert_eq!(node.handler().connected().len(), 1);
    peer.write_all(&frame(b"x")).unwrap();
    assert!(outer.wait(Some(PATIENCE)), "a message");
    raw::settle(&mut node);
    let handle = node.handle();
    let posting = thread::spawn(move || handle.post(|_, _| ()));
    posting.join().unwrap().unwrap();
    assert!(outer.wait(Some(PATIENCE)), "a command");
}

#[test]
fn node_in_another_loop_misses_nothing() {
    let handler = Recorder::reacting(|net, event| match event {
        // Half of the answers are sent at once, and half by a timer.
        Event::Message(conn, message) if message[0] % 2 == 0 => {
            net.send(*conn, message).expect("there is room");
        }
        Event::Message(_, message) => {
            net.set_timer(Duration::from_micros(300), message[0].into());
        }
        Event::Timer(_, key) => {
            let conn = net.connections().next().expect("there is one");
            net.send(conn.id(), &[*key as u8]).expect("there is room");
        }
        _ => {}
    });
    let (mut node, addr) = listening(Config::default(), handler);
    let mut outer = OuterLoop::watching(&node);
    let peer = thread::spawn(move || {
        let mut peer = raw::connect(addr);
        for number in 0..200 {
            peer.write_all(&frame(&[number])).expect("room");
            let mut answer = [0; 5];
            peer.read_exact(&mut answer).expect("an answer");
            assert_eq!(answer[..], frame(&[number]));
        }
    });
    let end = Instant::now() + PATIENCE;
    let is_end = |event: &Event| matches!(event, Event::Disconnect(..));
    while node.handler().count(is_end) == 0 {
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "an event was missed");
        // The documented wait: until the descriptor is readable, or until the
        // timeout.
        outer.wait(node.timeout().map_or(Some(left), Some));
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
    }
    peer.join().unwrap();
}
