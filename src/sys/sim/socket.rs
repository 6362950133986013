//! One end of a simulated connection, in its kernel.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::delivery_check::DeliveryCheck;
use super::event::{PollerId, SocketId};
use super::selector::{Interest, Mask};

/// All sockets of a world.
pub(super) type SocketTable = BTreeMap<SocketId, Socket>;

/// State of a socket. Its two directions end separately; see
/// [`Socket::fin_asked`] and [`Socket::peer_fin`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SocketState {
    SynSent,
    /// The handshake was answered. Its third segment has not arrived.
    SynReceived,
    Established,
    /// Reset, or ended by the kernel.
    Closed,
}

/// The owner of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// The node of this poller.
    Node(PollerId),
    /// A scripted peer.
    Wire,
    /// A listener, until the connection is accepted.
    Listener(SocketId),
    /// The program has closed the socket, and the kernel sends the rest.
    Kernel,
    /// Its host has lost its power.
    PoweredOff,
}

/// Sizes of a socket's buffers, in bytes, where the program has set them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Buffers {
    pub(super) send: Option<usize>,
    pub(super) receive: Option<usize>,
}

/// Registration of a socket: edges since the last report, by direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registration {
    pub(super) poller: PollerId,
    pub(super) token: usize,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The socket is on the poller's list.
    pub(super) queued: bool,
    /// Number of delayed reports.
    pub(super) late: u32,
    /// The report on the list was delayed before, and is not delayed again.
    pub(super) was_late: bool,
    /// Room for writing is reported.
    pub(super) watches_room: bool,
    /// The directions to report, with
    /// [`Selector::Poll`](super::Selector::Poll).
    pub(super) interest: Option<Interest>,
}

impl Registration {
    /// Removes the readiness that was reported from the interest.
    pub(super) fn disarm(&mut self, mask: Mask) {
        if let Some(interest) = &mut self.interest {
            interest.remove(mask);
        }
    }
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) host: IpAddr,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) owner: Owner,
    pub(super) state: SocketState,
    /// The other end, once it is known. A socket that is connected to itself is
    /// its own other end.
    pub(super) peer: Option<SocketId>,
    pub(super) registration: Option<Registration>,
    /// Accepted by a listener, whose port it has.
    pub(super) accepted: bool,
    pub(super) error: Option<io::ErrorKind>,
    /// The socket is closed with a reset.
    pub(super) linger_zero: bool,

    /// Bytes written by the program and not sent.
    pub(super) unsent: VecDeque<u8>,
    /// Bytes sent and not acknowledged.
    pub(super) unacked: usize,
    /// Bytes sent that have not arrived.
    pub(super) in_flight: usize,
    pub(super) send_capacity: usize,
    /// The program has seen that there is no room. An edge is reported when
    /// there is.
    pub(super) no_space: bool,
    /// A fault hides the room for a moment.
    pub(super) write_held: bool,
    /// The program has closed its sending side.
    pub(super) fin_asked: bool,
    pub(super) fin_sent: bool,
    pub(super) fin_acked: bool,
    /// The FIN was sent before the peer's arrived, so this end keeps the
    /// addresses in TIME_WAIT.
    pub(super) ended_first: bool,
    /// Time of the last write. Segments leave no earlier.
    pub(super) written_at: Duration,
    /// Earliest time at which the next segment may arrive, so that segments
    /// stay in order.
    pub(super) next_arrival: Duration,
    /// Time at which segments that a partition held back arrive again. Later
    /// segments do not overtake them.
    pub(super) resent_at: Duration,
    /// A window update of the other end is on its way.
    pub(super) window_update: bool,
    /// The kernel retransmits, and its timeout is set.
    pub(super) is_retransmitting: bool,

    /// Bytes that arrived and were not read.
    pub(super) received: VecDeque<u8>,
    pub(super) receive_capacity: usize,
    /// A fault hides the bytes in `received`, and the end of stream after them,
    /// for a moment.
    pub(super) read_held: bool,
    /// The FIN of the other end has arrived.
    pub(super) peer_fin: bool,

    /// Number of bytes that the program has read.
    pub(super) read: u64,
    /// Number of bytes that the program has written.
    pub(super) written: u64,
    /// The check of delivered bytes, from the time at which messages can begin.
    pub(super) delivery: Option<Box<DeliveryCheck>>,
}

impl Socket {
    pub(super) fn new(host: IpAddr, local: SocketAddr, remote: SocketAddr, owner: Owner) -> Self {
        Self {
            host,
            local,
            remote,
            owner,
            state: SocketState::SynSent,
            peer: None,
            registration: None,
            accepted: false,
            error: None,
            linger_zero: false,
            unsent: VecDeque::new(),
            unacked: 0,
            in_flight: 0,
            send_capacity: 0,
            no_space: false,
            write_held: false,
            fin_asked: false,
            fin_sent: false,
            fin_acked: false,
            ended_first: false,
            written_at: Duration::ZERO,
            next_arrival: Duration::ZERO,
            resent_at: Duration::ZERO,
            window_update: false,
            is_retransmitting: false,
            received: VecDeque::new(),
            receive_capacity: 0,
            read_held: false,
            peer_fin: false,
            read: 0,
            written: 0,
            delivery: None,
        }
    }

    pub(super) fn addresses(&self) -> (IpAddr, SocketAddr, SocketAddr) {
        (self.host, self.local, self.remote)
    }

    /// Returns the room for writes of the program, in bytes.
    pub(super) fn space(&self) -> usize {
        self.send_capacity
            .saturating_sub(self.unsent.len() + self.unacked)
    }

    /// Returns whether there is enough room for an edge: on Linux a third of
    /// the buffer must be free (`sk_stream_is_writeable`).
    pub(super) fn is_spacious(&self) -> bool {
        self.space() >= (self.send_capacity / 3).max(1)
    }

    /// Returns the number of bytes that the other end may still send.
    pub(super) fn window(&self) -> usize {
        self.receive_capacity.saturating_sub(self.received.len())
    }

    /// Returns the number of bytes that a read can return.
    pub(super) fn visible(&self) -> usize {
        if self.read_held {
            0
        } else {
            self.received.len()
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.peer_fin && !self.read_held
    }

    /// Returns the readiness. As on Linux, if there is no room, an edge is
    /// reported when there is.
    pub(super) fn poll(&mut self) -> Mask {
        let closed = self.state == SocketState::Closed;
        let connected = self.state == SocketState::Established;
        let room = self.fin_asked || (self.is_spacious() && !self.write_held);
        if connected && !room {
            self.no_space = true;
        }
        let finished = closed || (connected && self.is_at_end());
        Mask {
            readable: finished || (connected && self.visible() > 0),
            writable: closed || (connected && room),
            finished,
            error: self.error.is_some(),
        }
    }

    /// Returns the readiness that the selector of the socket reports.
    pub(super) fn poll_reported(&mut self) -> Mask {
        let mut mask = self.poll();
        let Some(registration) = self.registration else {
            return mask;
        };
        mask.writable &= registration.watches_room;
        let interest = registration.interest;
        interest.map_or(mask, |interest| interest.of(mask))
    }

    /// Returns whether the socket can be removed, because both ends have closed
    /// it.
    pub(super) fn is_over(&self) -> bool {
        let closed = self.state == SocketState::Closed;
        match self.owner {
            Owner::Kernel => closed || (self.peer_fin && self.fin_acked),
            Owner::PoweredOff => closed,
            Owner::Node(_) | Owner::Wire | Owner::Listener(_) => false,
        }
    }

    /// Takes the pending error, like SO_ERROR and the next call.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take().map(io::Error::from)
    }
}
