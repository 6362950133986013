//! A node that another, edge-triggered loop polls.

use std::io::Write;
use std::net::TcpStream;

use mio::{Events, Interest, Poll, Token};
use peerloop::Config;

use crate::util::raw::settle;
use crate::util::streams::{crowd, messages};
use crate::util::{PATIENCE, Recorder, frame};

#[test]
fn outer_loop_gets_an_event_for_every_message() {
    let (mut node, mut peers) = crowd(Config::default(), Recorder::default());
    let mut outside = Poll::new().unwrap();
    // mio registers only descriptors of its types.
    let watched = node.as_fd().try_clone_to_owned().unwrap();
    let mut watched = mio::net::TcpStream::from_std(TcpStream::from(watched));
    outside
        .registry()
        .register(&mut watched, Token(0), Interest::READABLE)
        .unwrap();
    for peer in &mut peers {
        peer.write_all(&frame(b"x")).unwrap();
    }
    let mut events = Events::with_capacity(1);
    while messages(&node) < peers.len() {
        outside.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "{} messages", messages(&node));
        // As documented: until the node has nothing more to do at once.
        settle(&mut node);
    }
}
