//! A panic in the closure of `Framing::custom`, which makes a framer for each
//! connection.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::util::raw::{connect, feed, join, settle};
use crate::util::{Event, Recorder, config_with, listening, node, run_until};
use peerloop::Config;
use peerloop::DisconnectReason;
use peerloop::error::FramingError;
use peerloop::framing::{Decoded, Framer, Framing};

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

/// Returns a framing that panics instead of making a framer while the flag is set.
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
fn panic_in_an_accept_ends_that_connection_only() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let config = config_with(|config| {
        config.connection.framing = brittle(&is_broken);
        // A charge that is not given back keeps the next peer out.
        config.limits.max_connections_per_address = 1;
    });
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
fn panic_in_connect_releases_the_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let is_broken = Arc::new(AtomicBool::new(false));
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Start = event {
            let mut options = net.connect_options();
            options.connection_mut().framing = brittle(&is_broken);
            is_broken.store(true, Ordering::Relaxed);
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

/// A callback of one connection changes the framing of another one.
#[test]
fn panic_in_set_framing_ends_that_connection() {
    let (mut node, addr) = listening(Config::default(), Recorder::default());
    let (victim, mut lost) = join(&mut node, addr);
    let (conn, mut peer) = join(&mut node, addr);
    let is_broken = Arc::new(AtomicBool::new(true));
    let framing = brittle(&is_broken);
    node.handler_mut().reaction = Box::new(move |net, event| {
        if let Event::Message(from, _) = event {
            assert_eq!(net.set_framing(victim, framing.clone()), Ok(()));
            assert_ne!(*from, victim);
            assert_eq!(net.send(victim, b"x"), Err(peerloop::SendError::Closed));
        }
    });
    feed(&mut node, &mut peer, b"\0\0\0\x01x\0\0\0\x01y");
    let reason = node.handler().ended(victim);
    assert_eq!(reason, Some(DisconnectReason::HandlerPanicked));
    assert_eq!(lost.read(&mut [0]).ok(), Some(0));
    assert_eq!(node.handler().messages(conn), [b"x", b"y"]);
    assert_eq!(node.net().metrics().panics, 1);
}
