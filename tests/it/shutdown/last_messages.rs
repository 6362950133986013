//! Messages and calls before a shutdown.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use peerloop::{Bytes, Config, ConnId, Handler, Net, Node, RunEnd};

use crate::util::raw::{connect, wire};
use crate::util::{Event, PATIENCE, Recorder, frame, node};

fn run_to_the_end<H: Handler>(node: &mut Node<H>) {
    let end = node.run_for(PATIENCE).unwrap();
    assert_eq!(end, RunEnd::Stopped);
}

/// Returns what a peer receives from a handler that answers a message and shuts the
/// node down without grace.
fn last_message<H: Handler>(handler: H) -> Vec<u8> {
    let mut node = Node::new(Config::default(), handler).unwrap();
    let mut peer = connect(node.net().listen("127.0.0.1:0").unwrap().addr);
    peer.write_all(&frame(b"x")).unwrap();
    run_to_the_end(&mut node);
    let mut received = Vec::new();
    // The stream may end with a reset. The message comes before it.
    let _ = peer.read_to_end(&mut received);
    received
}

/// Answers once, and shuts down at the end of that turn.
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
fn no_grace_still_sends_what_the_turn_queued() {
    let in_on_message = Recorder::reacting(|net, event| {
        if let Event::Message(conn, _) = event {
            net.send(*conn, b"bye").expect("the queue has room");
            net.shutdown(Duration::ZERO);
        }
    });
    assert_eq!(last_message(in_on_message), frame(b"bye"));
    let in_on_turn = Leaver::default();
    assert_eq!(last_message(in_on_turn), frame(b"bye"));
}

#[test]
fn messages_of_a_handle_are_sent_before_shutdown() {
    const COUNT: usize = 100;
    let mut config = Config::default();
    config.budget.commands = COUNT / 10;
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    let handle = node.handle();
    for _ in 0..COUNT {
        handle.send(conn, Bytes::from_static(b"x")).unwrap();
    }
    handle.shutdown(PATIENCE);
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).map(|_| all)
    });
    run_to_the_end(&mut node);
    assert_eq!(reader.join().unwrap().unwrap(), frame(b"x").repeat(COUNT));
    assert_eq!(node.net().metrics().commands_lost, 0);
}

#[test]
fn posted_call_before_shutdown_may_connect() {
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
