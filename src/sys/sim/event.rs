//! The ids of a simulated world, and its events.
//!
//! This file imports no other file of the simulator, so that each of them can
//! use these ids.

use std::net::{IpAddr, SocketAddr};

/// Id of a socket or listener. It is never reused.
pub(crate) type SocketId = u64;

/// Index of a poller in the world's list.
pub(crate) type PollerId = usize;

/// A future event.
#[derive(Debug)]
pub(super) enum Event {
    /// A turn of a node. It is skipped if no turn is wanted then.
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
    /// The rest of a short read, or the bytes that a spurious `WouldBlock`
    /// denied, become visible.
    ShowReceived {
        socket: SocketId,
    },
    /// The room in the send buffer that a fault has hidden becomes visible.
    ShowRoom {
        socket: SocketId,
    },
    /// Delayed readiness is reported.
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
    Udp(UdpEvent),
}

/// A future event of a UDP socket.
#[derive(Debug)]
pub(super) enum UdpEvent {
    Datagram {
        sender: SocketId,
        /// The host of the sender, and the host that it sends to.
        hosts: (IpAddr, IpAddr),
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// This many bytes of the send buffer are on the link.
    Left { socket: SocketId, bytes: usize },
    /// The answer that no program receives at an address (ICMP).
    PortUnreachable { to: SocketId },
    /// The datagrams that a fault has hidden become visible.
    ShowReceived { socket: SocketId },
    /// The room in the send buffer that a fault has hidden becomes visible.
    ShowRoom { socket: SocketId },
    /// Delayed readiness is reported.
    ReportLate { socket: SocketId },
}
