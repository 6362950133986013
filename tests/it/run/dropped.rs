//! Streams that a node cuts are reset, and no others.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::is_reset;
use crate::util::{Recorder, listening, raw, strict};
use peerloop::{Bytes, Net, Node};

/// A node with two peers, of which the first has messages in its queue.
fn with_a_queue() -> (Node<Recorder>, [TcpStream; 2], SocketAddr) {
    let (mut node, addr) = listening(strict(), Recorder::default());
    let (conn, cut) = raw::join(&mut node, addr);
    let (_, idle) = raw::join(&mut node, addr);
    node.net().send(conn, b"never sent").unwrap();
    (node, [cut, idle], addr)
}

#[test]
fn node_resets_streams_with_queued_bytes() {
    let (node, [mut cut, mut idle], _) = with_a_queue();
    drop(node);
    assert!(is_reset(&mut cut) && !is_reset(&mut idle));
    let (node, [mut cut, mut idle], _) = with_a_queue();
    let handler = node.into_handler();
    assert!(is_reset(&mut cut) && !is_reset(&mut idle));
    assert_eq!(handler.connected().len(), 2);
}

#[test]
fn panic_resets_streams_with_queued_bytes() {
    let (node, [mut cut, mut idle], _) = with_a_queue();
    let panicking = |handler: &mut Recorder, net: &mut Net| {
        net.send(handler.connected()[0], b"never sent").unwrap();
        std::panic::resume_unwind(Box::new("on purpose"));
    };
    node.handle().post(panicking).unwrap();
    let joined = thread::spawn(move || {
        let mut node = node;
        node.run()
    });
    joined.join().unwrap_err();
    // The first message left before, in the turn of the panic at the latest.
    assert!(is_reset(&mut cut) && !is_reset(&mut idle));
}

#[test]
fn message_in_the_command_queue_resets() {
    let (mut node, addr) = listening(strict(), Recorder::default());
    let mut peers = [(); 3].map(|()| raw::join(&mut node, addr));
    let handle = node.handle();
    handle
        .send(peers[0].0, Bytes::from_static(b"lost"))
        .unwrap();
    handle.post(|_, _| ()).unwrap();
    drop(node);
    let resets = peers.each_mut().map(|(_, peer)| is_reset(peer));
    assert_eq!(resets, [true, false, false]);
}

/// More than the sockets hold, to a peer that does not read.
#[test]
fn expired_grace_resets_streams() {
    for linger in [false, true] {
        let mut config = strict();
        config.sockets.send_buffer_bytes = Some(8 * 1024);
        config.connection.timeouts.linger = linger.then_some(Duration::from_millis(10));
        let (mut node, addr) = listening(config, Recorder::default());
        let mut peer = raw::connect_narrow(addr);
        let conn = raw::accepted(&mut node);
        for _ in 0..32 {
            node.net().send(conn, &[7; 16 * 1024]).unwrap();
        }
        if linger {
            node.net().close(conn);
            raw::until_ended(&mut node, conn);
        } else {
            node.net().shutdown(Duration::ZERO);
            node.run().unwrap();
        }
        assert!(is_reset(&mut peer), "linger: {linger}");
    }
}
