//! Handles of simulated UDP sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::{SharedInternet, SimRegistrar, SocketId};
use crate::config::{MulticastInterface, UdpOptions};

impl SimRegistrar {
    pub(crate) fn bind_udp(&self, addr: SocketAddr, options: &UdpOptions) -> io::Result<SimUdp> {
        let mut internet = self.internet.lock();
        let id = internet.bind_udp(self.poller, addr, options)?;
        Ok(SimUdp {
            internet: self.internet.clone(),
            id,
        })
    }

    pub(crate) fn add_udp(&self, udp: &SimUdp, token: usize) -> io::Result<()> {
        self.internet.lock().register_udp(udp.id, token)
    }

    pub(crate) fn watch_udp(&self, udp: &SimUdp, _: usize, for_room: bool) -> io::Result<()> {
        self.internet.lock().watch_udp(udp.id, for_room);
        Ok(())
    }

    pub(crate) fn remove_udp(&self, udp: &SimUdp) -> io::Result<()> {
        self.internet.lock().unregister_udp(udp.id);
        Ok(())
    }
}

/// A simulated UDP socket.
#[derive(Debug)]
pub(crate) struct SimUdp {
    internet: SharedInternet,
    id: SocketId,
}

impl SimUdp {
    pub(crate) fn id(&self) -> SocketId {
        self.id
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.internet.lock().udp_addr(self.id)
    }

    pub(crate) fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.internet.lock().recv_from(self.id, buffer)
    }

    pub(crate) fn send_to(&self, datagram: &[u8], addr: SocketAddr) -> io::Result<usize> {
        self.internet.lock().send_to(self.id, datagram, addr)
    }

    pub(crate) fn join(&self, _: IpAddr, _: MulticastInterface) -> io::Result<()> {
        Err(no_multicast())
    }

    pub(crate) fn leave(&self, _: IpAddr, _: MulticastInterface) -> io::Result<()> {
        Err(no_multicast())
    }
}

fn no_multicast() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "multicast between simulated hosts is not simulated",
    )
}

impl Drop for SimUdp {
    fn drop(&mut self) {
        self.internet.lock().close_udp(self.id);
    }
}
