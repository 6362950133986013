//! The answers of `on_accept`.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::util::{Event, PATIENCE, Recorder, config_with, listening, raw, run_until};
use peerloop::config::OnPanic;
use peerloop::framing::Framing;
use peerloop::{Admission, Config, ConnId, ConnInfo, Handler, Net, Node};

#[test]
fn refused_connection_gets_no_other_callback() {
    let (mut node, addr) = listening(Config::default(), Recorder::default());
    node.handler_mut().admission = Admission::Refuse;
    let mut refused = raw::connect(addr);
    run_until([&mut node], |[node]| {
        node.net().metrics().refused_by_handler == 1
    });
    assert_eq!(refused.read(&mut [0]).unwrap(), 0, "closed");
    raw::settle(&mut node);
    assert_eq!(node.handler().events, [Event::Start]);
    assert_eq!(node.net().connection_count(), 0);
    node.handler_mut().admission = Admission::Admit;
    let (conn, _peer) = raw::join(&mut node, addr);
    assert_eq!(node.handler().events, [Event::Start, Event::Connect(conn)]);
    assert_eq!(node.net().metrics().accepted, 1);
}

/// Replaces the listener in the first call of `on_accept`.
#[derive(Default)]
struct Replacer {
    has_replaced: bool,
    messages: Vec<Vec<u8>>,
}

impl Handler for Replacer {
    fn on_accept(&mut self, net: &mut Net, info: &ConnInfo) -> Admission {
        assert_eq!(net.find(info.addr), None);
        if !std::mem::replace(&mut self.has_replaced, true) {
            let listening = net.listeners().next().expect("it has accepted");
            net.close_listener(listening.id);
            let mut options = net.listen_options();
            options.connection_mut().framing = Framing::Delimited(b'\n');
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            net.listen_with(any, options).expect("a port");
        }
        Admission::Admit
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
        self.messages.push(message.to_vec());
    }
}

#[test]
fn replaced_listener_lends_no_options() {
    let config = config_with(|config| config.on_panic = OnPanic::Unwind);
    let mut node = Node::new(config, Replacer::default()).unwrap();
    let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
    let mut peer = raw::connect(addr);
    peer.write_all(b"\0\0\0\x04two\n").unwrap();
    // The connection is refused, or has the options of the closed listener.
    let end = Instant::now() + PATIENCE;
    let mut idle_turns = 0;
    while node.handler().messages.is_empty() && idle_turns < 50 {
        let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
        idle_turns += usize::from(node.handler().has_replaced);
        assert!(Instant::now() < end);
    }
    let messages = &node.handler().messages;
    assert!(messages.is_empty() || *messages == [b"two\n"]);
}
