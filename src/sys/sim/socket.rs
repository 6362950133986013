//! One end of a simulated connection, as its kernel sees it.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::delivery_check::DeliveryCheck;

/// The number of a socket; never given out twice.
pub(crate) type SocketId = u64;

/// Where a socket stands. Its two halves end apart; see [`Socket::fin_asked`] and [`Socket::peer_fin`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SocketState {
    SynSent,
    /// The other end has called; its last word of the handshake is awaited.
    Arriving,
    Established,
    /// Reset, or given up by the kernel.
    Closed,
}

/// Who reads and writes a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// The node of this poller.
    SimPoller(usize),
    /// A scripted peer.
    Wire,
    /// A listener, until it is accepted.
    SimListener(u64),
    /// The program has closed it, and the kernel sees to the rest.
    Nobody,
    /// Its machine went down with it.
    Vanished,
}

/// What is reported to a poller: edges since the last report, by direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registration {
    pub(super) poller: usize,
    pub(super) token: usize,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// On the poller's list.
    pub(super) queued: bool,
    /// Reports that were put off.
    pub(super) late: u32,
    /// The one on the list was put off before, which is enough.
    pub(super) was_late: bool,
}

/// What a poll of a socket shows, by Linux' `tcp_poll`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Mask {
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) finished: bool,
    pub(super) error: bool,
}

impl Mask {
    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) host: IpAddr,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) owner: Owner,
    pub(super) state: SocketState,
    /// The other end, once it is known. A socket that met itself is its own.
    pub(super) peer: Option<SocketId>,
    pub(super) registration: Option<Registration>,
    /// Made by a listener: its port is the listener's.
    pub(super) accepted: bool,
    pub(super) error: Option<io::ErrorKind>,
    /// Close with a reset.
    pub(super) linger_zero: bool,

    /// Bytes taken from the program that have not been sent.
    pub(super) unsent: VecDeque<u8>,
    /// Bytes sent and not acknowledged.
    pub(super) unacked: usize,
    /// Bytes sent that have not arrived.
    pub(super) in_flight: usize,
    pub(super) send_capacity: usize,
    /// The program was told that there is no room: it is owed an edge.
    pub(super) no_space: bool,
    /// There is to be no room for a moment.
    pub(super) write_held: bool,
    /// The program has ended its side.
    pub(super) fin_asked: bool,
    pub(super) fin_sent: bool,
    pub(super) fin_acked: bool,
    /// It was sent before the other end's had come: this end keeps the addresses for a while.
    pub(super) ended_first: bool,
    /// The earliest time at which the next segment may arrive: order is kept.
    pub(super) next_arrival: Duration,
    /// When what was held by a partition will have been sent again: what was sent after it does not overtake it.
    pub(super) resent_at: Duration,
    /// A news of room at the other end is on its way.
    pub(super) window_update: bool,
    /// The kernel has begun to give up on the other end.
    pub(super) giving_up: bool,

    /// Bytes that arrived and were not read.
    pub(super) received: VecDeque<u8>,
    pub(super) receive_capacity: usize,
    /// What is in `received`, and the end of stream after it, counts as not there for a moment.
    pub(super) read_held: bool,
    /// The other end has ended its side.
    pub(super) peer_fin: bool,

    pub(super) written: u64,
    pub(super) read: u64,
    /// What the framing is to deliver, once that is known.
    pub(super) witness: Option<Box<DeliveryCheck>>,
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
            next_arrival: Duration::ZERO,
            resent_at: Duration::ZERO,
            window_update: false,
            giving_up: false,
            received: VecDeque::new(),
            receive_capacity: 0,
            read_held: false,
            peer_fin: false,
            written: 0,
            read: 0,
            witness: None,
        }
    }

    /// Room for the program's writes.
    pub(super) fn space(&self) -> usize {
        self.send_capacity
            .saturating_sub(self.unsent.len() + self.unacked)
    }

    /// Whether the room is worth an edge: Linux waits until a third of the buffer is free (`sk_stream_is_writeable`).
    pub(super) fn is_spacious(&self) -> bool {
        self.space() >= (self.send_capacity / 3).max(1)
    }

    /// Bytes that the other end may still send.
    pub(super) fn window(&self) -> usize {
        self.receive_capacity.saturating_sub(self.received.len())
    }

    /// What the program may see of what arrived.
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

    /// What a poll shows. As in Linux, a poll that finds no room has the program owed an edge.
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

    /// Nothing is owed to anybody any more: the program has closed it, and so has the other end.
    pub(super) fn is_over(&self) -> bool {
        let closed = self.state == SocketState::Closed;
        match self.owner {
            Owner::Nobody => closed || (self.peer_fin && self.fin_acked),
            Owner::Vanished => closed,
            Owner::SimPoller(_) | Owner::Wire | Owner::SimListener(_) => false,
        }
    }

    /// Takes the error that was not reported yet, as SO_ERROR and the next call do.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take().map(io::Error::from)
    }
}
