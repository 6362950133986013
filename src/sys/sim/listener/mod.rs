//! Listening sockets of simulated nodes.

use std::io;
use std::net::SocketAddr;

use super::event::SocketId;
use super::socket::Owner;
use super::{SimRegistrar, SimStream};

#[derive(Debug)]
pub(crate) struct SimListener {
    pub(super) registrar: SimRegistrar,
    pub(super) id: SocketId,
}

impl SimListener {
    pub(crate) fn id(&self) -> SocketId {
        self.id
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.registrar.internet.lock().listener_addr(self.id)
    }

    /// Returns the local address of every accepted connection, if it is known
    /// without a call, as with epoll(7).
    pub(crate) fn accepts_on(&self) -> Option<SocketAddr> {
        self.registrar.internet.lock().accepts_on(self.id)
    }

    pub(crate) fn passes_options_on(&self) -> bool {
        true
    }

    pub(crate) fn accept(&self) -> io::Result<(SimStream, SocketAddr)> {
        let poller = self.registrar.poller;
        let mut internet = self.registrar.internet.lock();
        let (id, addr) = internet.accept(self.id, poller)?;
        Ok((self.registrar.stream(id), addr))
    }

    /// Accepts and closes a waiting connection, even if the process is short of
    /// a resource.
    fn close_waiting(&self) -> bool {
        let owner = Owner::Node(self.registrar.poller);
        let mut internet = self.registrar.internet.lock();
        let taken = internet.take_waiting(self.id, owner);
        match taken {
            Some((id, _)) => internet.close(id, false),
            None => internet.rearm_listener(self.id),
        }
        taken.is_some()
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.registrar
            .internet
            .lock()
            .close_listener(self.id, false);
    }
}

/// A reserved descriptor, which is always available.
#[derive(Debug)]
pub(crate) struct SimReserve;

impl SimReserve {
    pub(crate) fn fill(&self) {}

    pub(crate) fn close_waiting(&self, listener: &SimListener, max: usize) -> usize {
        (0..max).take_while(|_| listener.close_waiting()).count()
    }
}
