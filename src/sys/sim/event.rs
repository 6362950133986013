//! What will happen in a simulated world, and in which order.

use std::cmp::Ordering;
use std::time::Duration;

use super::socket::SocketId;

/// Something that will happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A node's turn, if it is still wanted then.
    Turn(usize),
    /// A call: somebody dials.
    Syn {
        from: SocketId,
        attempt: u32,
    },
    /// The answer to it.
    SynAck {
        to: SocketId,
        from: SocketId,
    },
    /// The third segment of the handshake.
    Established {
        to: SocketId,
        attempt: u32,
    },
    /// Nobody knows a way for a call.
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
    /// There is room at the other end again.
    Window {
        to: SocketId,
    },
    Reset {
        to: SocketId,
    },
    /// A short read's rest, or what a spurious `WouldBlock` denied, is there now.
    Reveal {
        socket: SocketId,
    },
    /// The same for room.
    Room {
        socket: SocketId,
    },
    /// Readiness that was to come later.
    Late {
        socket: SocketId,
    },
    LateListener {
        listener: u64,
    },
    SimWake {
        poller: usize,
    },
    /// Whoever was called has waited for too long for the end of the handshake.
    DropCall {
        socket: SocketId,
    },
    /// The kernel has had no answer for too long.
    GiveUp {
        socket: SocketId,
    },
}

#[derive(Debug)]
pub(super) struct Scheduled {
    pub(super) at: Duration,
    /// Decides among equal times; what has the same is ordered by `serial`.
    pub(super) rank: u32,
    pub(super) serial: u64,
    pub(super) event: Event,
}

/// The rank of all that is no turn, so that what a connection sends stays in order.
pub(super) const NETWORK: u32 = 1 << 16;

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |it: &Self| (it.at, it.rank, it.serial);
        key(self).cmp(&key(other))
    }
}
