//! Sources that are closed without `deregister`, and nodes that are dropped
//! before their sources.

use std::time::Duration;

use super::{node, receive, register, run_for, run_until, udp};
use crate::util::child::{alone, test_path};

/// mio's types remove themselves. The descriptor is used again at once. In this
/// process no other test starts a child, which would have duplicates for a
/// moment.
#[test]
fn dropped_source_is_forgotten() {
    alone(
        test_path!(dropped_source_is_forgotten),
        drop_sources_without_deregister,
    );
}

fn drop_sources_without_deregister() {
    let mut node = node(receive);
    for round in 0..10 {
        let (source, peer) = udp();
        let id = register(&mut node, source);
        peer.send(&[round]).unwrap();
        if round % 2 == 0 {
            run_until(&mut node, |sources| sources.count(id) == 1);
        }
        drop(node.handler_mut().take(id));
        let calls = node.handler().ready.len();
        run_for(&mut node, Duration::from_millis(2));
        assert_eq!(node.handler().ready.len(), calls);
    }
    // The loop sleeps.
    let turns = node.handler().turns;
    let _ = node.turn(Some(Duration::from_millis(20))).unwrap();
    assert_eq!(node.handler().turns, turns + 1);
}

#[test]
fn source_outlives_its_node() {
    let mut node = node(receive);
    let (source, peer) = udp();
    let id = register(&mut node, source);
    let mut sources = node.into_handler();
    peer.send(b"x").unwrap();
    let source = sources.source(id);
    let mut buffer = [0; 10];
    crate::util::eventually(|| source.recv(&mut buffer).is_ok_and(|count| count == 1));
}

/// The docs of `Net::register` describe this for poll(2) and other descriptors.
#[cfg(mio_unsupported_force_poll_poll)]
#[test]
fn closed_descriptor_spins_with_poll() {
    alone(
        test_path!(closed_descriptor_spins_with_poll),
        close_a_registered_descriptor,
    );
}

/// In this process no other test takes the number of the descriptor.
#[cfg(mio_unsupported_force_poll_poll)]
fn close_a_registered_descriptor() {
    use peerloop::mio::{self, Interest};
    use std::os::fd::AsRawFd;

    let mut node = node::<mio::net::UdpSocket>(|_, _, _| {});
    let (source, _peer) = udp();
    let fd = source.as_raw_fd();
    let interest = Interest::READABLE;
    let id = node.net().register(&mut mio::unix::SourceFd(&fd), interest);
    let id = id.unwrap();
    drop(source);
    for _ in 0..5 {
        let _ = node.turn(None).unwrap();
    }
    assert_eq!(node.handler().count(id), 5);
    let mut source = mio::unix::SourceFd(&fd);
    node.net().deregister(id, &mut source).unwrap();
}
