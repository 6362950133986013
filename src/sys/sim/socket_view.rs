//! What a world may look at, to check its nodes.

use super::internet::Internet;
use super::socket::{SocketId, SocketState};

/// A connection as its kernel sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct View {
    pub(crate) is_established: bool,
    pub(crate) is_broken: bool,
    /// Bytes that a read would give.
    pub(crate) readable: usize,
    /// A read would say that the stream has ended, after these bytes.
    pub(crate) is_at_end: bool,
    /// A write would be taken, and an edge has said so or will not come.
    pub(crate) has_room: bool,
    /// An edge is due: whatever there is to do, the node will hear of it.
    pub(crate) is_awaited: bool,
    /// Bytes that the node has written and read.
    pub(crate) written: u64,
    pub(crate) read: u64,
}

impl Internet {
    pub(crate) fn view(&self, id: SocketId) -> Option<View> {
        let socket = self.sockets.get(&id)?;
        let queued = socket
            .registration
            .is_some_and(|registration| registration.queued || registration.late > 0);
        Some(View {
            is_established: socket.state == SocketState::Established,
            is_broken: socket.state == SocketState::Closed,
            readable: socket.visible(),
            is_at_end: socket.is_at_end(),
            has_room: socket.is_spacious() && !socket.write_held,
            is_awaited: queued || socket.read_held,
            written: socket.written,
            read: socket.read,
        })
    }

    /// The other end of a connection, and how many bytes are on the way to it or unread there; `None` when one of them is broken,
    /// and what was on the way may be lost, whether its node knows it already or not.
    pub(crate) fn other_end(&self, id: SocketId) -> Option<(SocketId, Option<usize>)> {
        let socket = self.sockets.get(&id)?;
        let peer = socket.peer?;
        let other = self.sockets.get(&peer)?;
        let is_broken = socket.state == SocketState::Closed || other.state == SocketState::Closed;
        let in_between = socket.unsent.len() + socket.in_flight + other.received.len();
        Some((peer, (!is_broken).then_some(in_between)))
    }
}
