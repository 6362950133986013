//! Connections whose sockets have room for some KiB only. The rest stays in the
//! send queue until the peer reads.

use std::io::Read;
use std::net::TcpStream;
use std::thread::{JoinHandle, spawn};

use peerloop::{Config, ConnId, Net};

use super::{Event, Recorder, TestNode, listening, raw};

/// A node and a peer that does not read.
pub fn narrow(mut config: Config, handler: Recorder) -> (TestNode, ConnId, TcpStream) {
    config.sockets.send_buffer_bytes = Some(4096);
    let (mut node, addr) = listening(config, handler);
    let peer = raw::connect_narrow(addr);
    let conn = raw::accepted(&mut node);
    (node, conn, peer)
}

/// Sends until a send fails or the condition holds and the socket takes no
/// more. Returns the number of bytes sent.
pub fn fill(node: &mut TestNode, conn: ConnId, enough: fn(&Net, ConnId) -> bool) -> usize {
    let mut sent = 0;
    loop {
        while !enough(node.net(), conn) && node.net().send(conn, &[9; 1000]).is_ok() {
            sent += 1004;
        }
        let before = queued_bytes(node.net(), conn);
        raw::settle(node);
        if queued_bytes(node.net(), conn) == before {
            return sent;
        }
    }
}

/// Fills the queue to its maximum.
pub fn fill_up(node: &mut TestNode, conn: ConnId) -> usize {
    fill(node, conn, |_, _| false)
}

pub fn queued_bytes(net: &Net, conn: ConnId) -> usize {
    net.connection(conn).map_or(0, |conn| conn.queued_bytes())
}

/// Reads this many bytes in a thread.
pub fn read_in_thread(mut peer: TcpStream, count: usize) -> JoinHandle<TcpStream> {
    spawn(move || {
        peer.read_exact(&mut vec![0; count]).expect("so many bytes");
        peer
    })
}

/// The number of calls of `on_drain`.
pub fn drains(node: &TestNode) -> usize {
    node.handler()
        .count(|event| matches!(event, Event::Drain(_)))
}
