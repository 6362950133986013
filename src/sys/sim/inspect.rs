//! Access to sockets for the checks of a world.

use super::event::SocketId;
use super::internet::Internet;
use super::socket::SocketState;

/// The state of a connection in its kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SocketInspection {
    pub(crate) is_established: bool,
    pub(crate) is_broken: bool,
    /// Number of bytes that a read would return.
    pub(crate) readable: usize,
    /// A read would report the end of the stream after these bytes.
    pub(crate) is_at_end: bool,
    /// A write would succeed, and its edge was reported or will not come.
    pub(crate) has_room: bool,
    /// A report is due, after which the node will check the socket.
    pub(crate) is_awaited: bool,
    /// Number of bytes that the node has written.
    pub(crate) written: u64,
}

impl Internet {
    pub(crate) fn inspect(&self, id: SocketId) -> Option<SocketInspection> {
        let socket = self.sockets.get(&id)?;
        let registration = socket.registration;
        let is_queued = registration.is_some_and(|it| it.queued || it.late > 0);
        Some(SocketInspection {
            is_established: socket.state == SocketState::Established,
            is_broken: socket.state == SocketState::Closed,
            readable: socket.visible(),
            is_at_end: socket.is_at_end(),
            has_room: socket.is_spacious() && !socket.write_held,
            is_awaited: is_queued || socket.read_held,
            written: socket.written,
        })
    }

    /// Returns the other end of a connection, and the number of bytes that are
    /// on the way to it or unread there. The number is `None` if one of the
    /// ends is broken, because then bytes may be lost, whether or not the node
    /// has noticed it.
    pub(crate) fn other_end(&self, id: SocketId) -> Option<(SocketId, Option<usize>)> {
        let socket = self.sockets.get(&id)?;
        let peer = socket.peer?;
        let other = self.sockets.get(&peer)?;
        let is_broken = socket.state == SocketState::Closed || other.state == SocketState::Closed;
        let in_between = socket.unsent.len() + socket.in_flight + other.received.len();
        Some((peer, (!is_broken).then_some(in_between)))
    }
}
