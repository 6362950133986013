//! Dropping a node.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::util::{Event, Recorder, raw};
use peerloop::Config;

#[test]
fn drop_frees_the_port_without_a_callback() {
    let ends = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ends);
    let handler = Recorder::reacting(move |_, event| {
        if let Event::Disconnect(..) = event {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (mut node, _, _peer) = raw::wire(Config::default(), handler);
    let addr = node.net().listeners().next().unwrap().addr;
    drop(node);
    TcpListener::bind(addr).expect("the port is free");
    assert_eq!(ends.load(Ordering::Relaxed), 0);
}
