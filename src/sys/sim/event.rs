//! The names of things in a simulated world, and what can happen to them.
//!
//! This file imports nothing from other files, so that each of them can name
//! the others' things without importing them.

/// The number of a socket or listener. It is never given out twice.
pub(crate) type SocketId = u64;

/// The place of a poller in the world's list.
pub(crate) type PollerId = usize;

/// Something that will happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A node's turn, unless it is no longer wanted then.
    Turn(PollerId),
    /// The first segment of a handshake arrives.
    Syn {
        from: SocketId,
        attempt: u32,
    },
    /// The second segment of a handshake arrives.
    SynAck {
        to: SocketId,
        from: SocketId,
    },
    /// The third segment of a handshake arrives.
    HandshakeAck {
        to: SocketId,
        attempt: u32,
    },
    /// A router answers that there is no route to the host (ICMP).
    Unreachable {
        to: SocketId,
    },
    Data {
        from: SocketId,
        to: SocketId,
        bytes: Vec<u8>,
        fin: bool,
    },
    Ack {
        to: SocketId,
        bytes: usize,
        fin: bool,
    },
    /// The other end has room again.
    WindowUpdate {
        to: SocketId,
    },
    Reset {
        to: SocketId,
    },
    /// The rest of a short read, or what a spurious `WouldBlock` denied,
    /// becomes visible.
    ShowReceived {
        socket: SocketId,
    },
    /// The same for room in the send buffer.
    ShowRoom {
        socket: SocketId,
    },
    /// Readiness that was delayed is reported.
    ReportLate {
        socket: SocketId,
    },
    ReportListenerLate {
        listener: SocketId,
    },
    Wake {
        poller: PollerId,
    },
    /// The connecting end has waited too long for the answer of the handshake.
    ConnectTimeout {
        socket: SocketId,
    },
    /// The accepting end has waited too long for the end of the handshake.
    HandshakeTimeout {
        socket: SocketId,
    },
    /// The kernel has retransmitted for too long.
    RetransmitTimeout {
        socket: SocketId,
    },
}
