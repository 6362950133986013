//! Peers that are blocking sockets, and the node under test.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use peerloop::{Config, ConnId, DisconnectReason, Turn};
use socket2::{Domain, SockRef, Socket, Type};

use super::{PATIENCE, Recorder, TestNode, listening, run_until, turn};

/// A node and a raw peer that has connected to it.
pub fn wire(config: Config, handler: Recorder) -> (TestNode, ConnId, TcpStream) {
    let (mut node, addr) = listening(config, handler);
    let (conn, peer) = join(&mut node, addr);
    (node, conn, peer)
}

/// One more raw peer, and the id that the node gave it.
pub fn join(node: &mut TestNode, addr: SocketAddr) -> (ConnId, TcpStream) {
    let peer = connect(addr);
    (accepted(node), peer)
}

/// A raw peer. Its waits are bounded, so that a test fails and does not hang.
pub fn connect(addr: SocketAddr) -> TcpStream {
    connect_with(addr, None)
}

/// A raw peer whose kernel keeps no more than some KiB for it.
pub fn connect_narrow(addr: SocketAddr) -> TcpStream {
    connect_with(addr, Some(4096))
}

fn connect_with(addr: SocketAddr, receive_buffer: Option<usize>) -> TcpStream {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
    if let Some(size) = receive_buffer {
        socket.set_recv_buffer_size(size).expect("a size it takes");
    }
    socket.connect(&addr.into()).expect("a listener");
    let peer = TcpStream::from(socket);
    peer.set_nodelay(true).expect("a connection");
    peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
    peer.set_write_timeout(Some(PATIENCE)).expect("not zero");
    peer
}

/// Returns the next connection of a node, after the first events of its
/// socket were handled.
pub fn accepted(node: &mut TestNode) -> ConnId {
    let before = node.handler().connected().len();
    run_until([node], |[node]| node.handler().connected().len() > before);
    settle(node);
    node.handler().connected()[before]
}

/// Runs turns until nothing is left to do that needs no event.
pub fn settle(node: &mut TestNode) {
    while turn(node, Some(Duration::ZERO)) == Turn::MoreWork {}
}

/// Writes a piece and runs one turn that reads it, and nothing else.
pub fn feed(node: &mut TestNode, peer: &mut TcpStream, piece: &[u8]) {
    if node.timeout() == Some(Duration::ZERO) {
        settle(node);
    }
    peer.write_all(piece).expect("the socket has room");
    let begun = Instant::now();
    while node.turn(Some(PATIENCE)).expect("a turn") == Turn::MoreWork {}
    assert!(begun.elapsed() < PATIENCE, "the piece did not arrive");
}

/// Writes more than the sockets hold, while the node reads.
pub fn pour(node: &mut TestNode, peer: &mut TcpStream, bytes: &[u8]) {
    for piece in bytes.chunks(16 * 1024) {
        peer.write_all(piece).expect("the node reads");
        while node.turn(Some(Duration::from_millis(1))).expect("a turn") == Turn::MoreWork {}
    }
}

/// Resets the connection.
pub fn reset(peer: TcpStream) {
    SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .expect("a connection");
    drop(peer);
}

/// Runs the node until it has reported the end of a connection; why it ended.
#[track_caller]
pub fn until_ended(node: &mut TestNode, conn: ConnId) -> DisconnectReason {
    run_until([node], |[node]| node.handler().ended(conn).is_some());
    node.handler().ended(conn).expect("it has ended")
}
