//! A simulated UDP socket, in its kernel.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::event::{PollerId, SocketId};
use super::selector::{Interest, Mask};

/// All UDP sockets of a world.
pub(super) type UdpSocketTable = BTreeMap<SocketId, KernelUdp>;

/// Default size of the receive buffer, in bytes (Linux, `rmem_default`).
pub(super) const RECEIVE_BUFFER: usize = 212_992;

/// Default size of the send buffer, in bytes (Linux, `wmem_default`).
pub(super) const SEND_BUFFER: usize = 212_992;

/// Number of bytes that a datagram takes in the receive buffer in addition to
/// its own.
const OVERHEAD: usize = 256;

/// A datagram in the receive buffer.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) from: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

/// A datagram that the loop has received and not delivered: its source, and
/// the hash of its content.
pub(super) type Undelivered = (SocketAddr, u64);

#[derive(Debug)]
pub(super) struct KernelUdp {
    pub(super) host: IpAddr,
    pub(super) local: SocketAddr,
    pub(super) poller: PollerId,
    /// SO_REUSEADDR or SO_REUSEPORT is set.
    pub(super) shares_port: bool,
    pub(super) registration: Option<UdpRegistration>,
    received: VecDeque<Received>,
    received_bytes: usize,
    pub(super) receive_capacity: usize,
    /// A fault hides the received datagrams for a moment.
    pub(super) read_held: bool,
    /// An error that the next call returns (ICMP).
    pub(super) error: Option<io::ErrorKind>,
    /// Number of bytes that are not on the link yet.
    pub(super) unsent: usize,
    pub(super) send_capacity: usize,
    /// A fault hides the room for a moment.
    pub(super) write_held: bool,
    pub(super) undelivered: VecDeque<Undelivered>,
}

/// Registration of a UDP socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct UdpRegistration {
    pub(super) token: usize,
    /// Room is reported.
    pub(super) for_room: bool,
    /// The socket is on the poller's list.
    pub(super) queued: bool,
    /// Number of delayed reports.
    pub(super) late: u32,
    /// The report on the list was delayed before, and is not delayed again.
    pub(super) was_late: bool,
    /// The directions to report, with
    /// [`Selector::Poll`](super::Selector::Poll).
    pub(super) interest: Option<Interest>,
}

impl KernelUdp {
    pub(super) fn new(host: IpAddr, local: SocketAddr, poller: PollerId) -> Self {
        Self {
            host,
            local,
            poller,
            shares_port: false,
            registration: None,
            received: VecDeque::new(),
            received_bytes: 0,
            receive_capacity: RECEIVE_BUFFER,
            read_held: false,
            error: None,
            unsent: 0,
            send_capacity: SEND_BUFFER,
            write_held: false,
            undelivered: VecDeque::new(),
        }
    }

    /// Returns whether a datagram for this address arrives at the socket.
    pub(super) fn is_bound_to(&self, host: IpAddr, addr: SocketAddr) -> bool {
        let local = self.local;
        let is_on_ip = local.ip().is_unspecified() || local.ip() == addr.ip();
        self.host == host && local.port() == addr.port() && is_on_ip
    }

    /// Adds a datagram that has arrived. Returns false if the buffer is full.
    pub(super) fn arrive(&mut self, datagram: Received) -> bool {
        // As on Linux, the last datagram may exceed the size.
        if self.received_bytes >= self.receive_capacity {
            return false;
        }
        self.received_bytes += datagram.bytes.len() + OVERHEAD;
        self.received.push_back(datagram);
        true
    }

    pub(super) fn take_received(&mut self) -> Option<Received> {
        let datagram = self.received.pop_front()?;
        self.received_bytes -= datagram.bytes.len() + OVERHEAD;
        Some(datagram)
    }

    /// Returns the number of datagrams that can be received.
    pub(super) fn visible(&self) -> usize {
        if self.read_held {
            0
        } else {
            self.received.len()
        }
    }

    /// Returns whether there is room for a datagram. As on Linux, the last one
    /// may exceed the size.
    pub(super) fn has_room(&self) -> bool {
        self.unsent < self.send_capacity && !self.write_held
    }

    /// Returns the readiness that the selector of the socket reports.
    pub(super) fn poll_reported(&self) -> Mask {
        let registration = self.registration;
        let mask = Mask {
            readable: self.visible() > 0,
            writable: registration.is_some_and(|it| it.for_room) && self.has_room(),
            finished: false,
            error: self.error.is_some(),
        };
        let interest = registration.and_then(|it| it.interest);
        interest.map_or(mask, |interest| interest.of(mask))
    }
}
