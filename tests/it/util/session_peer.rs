//! A peer with a session on a blocking socket, which the test drives.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use peerloop::ConnId;
use peerloop::error::SessionError;
use peerloop::session::{Session, Stage};

use super::session_end::SessionEnd;
use super::{TestNode, raw, run_until};

/// The end of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamEnd {
    Fin,
    Reset,
}

pub struct SessionPeer<S> {
    pub end: SessionEnd<S>,
    pub socket: TcpStream,
    /// The number of bytes that have arrived.
    pub received: usize,
    pub stream_end: Option<StreamEnd>,
    /// The first error of the session.
    pub error: Option<SessionError>,
}

impl<S: Session> SessionPeer<S> {
    pub fn new(socket: TcpStream, session: S) -> Self {
        Self {
            end: SessionEnd::new(session),
            socket,
            received: 0,
            stream_end: None,
            error: None,
        }
    }

    /// Connects to a node, and completes the handshake.
    #[track_caller]
    pub fn connect(node: &mut TestNode, addr: SocketAddr, session: S) -> (ConnId, Self) {
        Self::connect_by(node, raw::connect(addr), session)
    }

    /// Completes the handshake on a socket that is connected to a node.
    #[track_caller]
    pub fn connect_by(node: &mut TestNode, socket: TcpStream, session: S) -> (ConnId, Self) {
        let mut peer = Self::new(socket, session);
        let before = node.handler().connected().len();
        peer.run_until(node, |peer, node| {
            let connected = node.handler().connected().len() > before;
            connected && peer.end.stage() != Stage::Handshaking
        });
        raw::settle(node);
        (node.handler().connected()[before], peer)
    }

    /// Runs the node, and this peer beside it, until the condition holds.
    #[track_caller]
    pub fn run_until(
        &mut self,
        node: &mut TestNode,
        mut condition: impl FnMut(&mut Self, &mut TestNode) -> bool,
    ) {
        run_until([node], |[node]| {
            self.step();
            condition(self, node)
        });
    }

    /// Runs the node until this peer has read to the end of the stream.
    #[track_caller]
    pub fn until_stream_end(&mut self, node: &mut TestNode) -> StreamEnd {
        self.run_until(node, |peer, _| peer.stream_end.is_some());
        self.stream_end.expect("an end")
    }

    /// Reads what has arrived, and writes what the session answers.
    pub fn step(&mut self) {
        if self.stream_end.is_some() {
            return;
        }
        let mut bytes = Vec::new();
        self.stream_end = read_available(&mut self.socket, &mut bytes);
        self.received += bytes.len();
        let result = self.end.receive(&bytes);
        if self.error.is_none() {
            self.error = result.err();
        }
        let answer = self.end.take_wire();
        // The node may have closed the connection.
        let _ = self.socket.write_all(&answer);
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("room in the socket");
    }

    /// Writes, and has the node read it in turns that do nothing else.
    #[track_caller]
    pub fn feed(&mut self, node: &mut TestNode, bytes: &[u8]) {
        raw::feed(node, &mut self.socket, bytes);
    }

    /// Ends the sending half of the stream.
    pub fn finish(&self) {
        self.socket.shutdown(Shutdown::Write).expect("an open half");
    }
}

/// Reads what a socket has. Returns the end of the stream, if that was reached.
fn read_available(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<StreamEnd> {
    socket.set_nonblocking(true).expect("a socket");
    let result = socket.read_to_end(bytes);
    socket.set_nonblocking(false).expect("a socket");
    match result {
        Ok(_) => Some(StreamEnd::Fin),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(_) => Some(StreamEnd::Reset),
    }
}

/// Runs a node until a raw peer has read this many bytes, or the end of the stream.
#[track_caller]
pub fn read_len(
    node: &mut TestNode,
    peer: &mut TcpStream,
    len: usize,
) -> (Vec<u8>, Option<StreamEnd>) {
    let (mut bytes, mut end) = (Vec::new(), None);
    run_until([node], |_| {
        end = end.or_else(|| read_available(peer, &mut bytes));
        end.is_some() || bytes.len() >= len
    });
    (bytes, end)
}

/// Runs a node until a raw peer has read to the end of the stream.
#[track_caller]
pub fn read_to_end(node: &mut TestNode, peer: &mut TcpStream) -> (Vec<u8>, StreamEnd) {
    let (bytes, end) = read_len(node, peer, usize::MAX);
    (bytes, end.expect("an end"))
}
