//! UDP sockets of both backends.

use std::io;
use std::net::{IpAddr, SocketAddr};

#[cfg(feature = "sim")]
use super::sim;
use super::{dispatch, from_backends, os};
use crate::config::MulticastInterface;

/// The cause of an error of a call on a UDP socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum UdpError {
    /// No datagram has arrived, or the kernel has no room for one.
    WouldBlock,
    Interrupted,
    /// The received datagram was longer than the buffer. It is gone.
    TooLong,
    /// The error belongs to one datagram, for example to one that was sent
    /// earlier and that no program received (ICMP). The next call may succeed.
    OneDatagram,
    /// Any other cause.
    Other,
}

/// A non-blocking UDP socket.
#[derive(Debug)]
pub(crate) enum Udp {
    Os(os::OsUdp),
    #[cfg(feature = "sim")]
    Sim(sim::SimUdp),
}

from_backends!(Udp: os::OsUdp, sim::SimUdp);

impl Udp {
    /// Returns the id of a simulated socket.
    #[cfg(feature = "sim")]
    pub(crate) fn sim_id(&self) -> Option<sim::SocketId> {
        match self {
            Self::Os(_) => None,
            Self::Sim(udp) => Some(udp.id()),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        dispatch!(self, udp => udp.local_addr())
    }

    /// Receives one datagram. Returns its length and its source. If the length
    /// is that of the buffer, the datagram may have been longer.
    pub(crate) fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        dispatch!(self, udp => udp.recv_from(buffer))
    }

    pub(crate) fn send_to(&self, datagram: &[u8], addr: SocketAddr) -> io::Result<usize> {
        dispatch!(self, udp => udp.send_to(datagram, addr))
    }

    /// Joins a multicast group.
    pub(crate) fn join(&self, group: IpAddr, interface: MulticastInterface) -> io::Result<()> {
        dispatch!(self, udp => udp.join(group, interface))
    }

    /// Leaves a multicast group.
    pub(crate) fn leave(&self, group: IpAddr, interface: MulticastInterface) -> io::Result<()> {
        dispatch!(self, udp => udp.leave(group, interface))
    }

    /// Returns the cause of an error of [`Udp::recv_from`] or [`Udp::send_to`].
    pub(crate) fn classify(error: &io::Error) -> UdpError {
        os::OsUdp::classify(error)
    }
}
