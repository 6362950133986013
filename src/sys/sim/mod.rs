//! TCP and time, simulated: one [`Internet`] for all nodes of a world, driven by the world, and everything that
//! happens drawn from its seed.
//!
//! What a program sees of it is what mio and a Linux kernel let it see. The types here are handles, as thin as those of
//! `tcp`.

mod calls;
mod connect;
mod crash;
mod delivery_check;
mod ends;
mod event;
mod exhaustion;
mod faults;
mod internet;
mod link;
mod listen;
mod partition;
mod ports;
mod random;
mod ready;
mod segments;
mod socket;
mod socket_view;
mod trace;
mod wires;

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Readiness, SocketOptions};
use crate::config::ListenOptions;

pub(crate) use delivery_check::{Passed, Source};
pub(crate) use internet::Internet;
pub(crate) use socket::SocketId;
pub(crate) use socket_view::View;
pub(crate) use trace::{Who, digest};

pub use faults::{Faults, Happened};
pub use link::Link;
pub use random::Random;
pub use trace::Trace;

use connect::Buffers;
use socket::Owner;

/// The internet, for all that live in it.
#[derive(Clone, Debug)]
pub(crate) struct SharedInternet(Arc<Mutex<Internet>>);

impl SharedInternet {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Internet::new(seed))))
    }

    /// Never held while a callback runs. A panic elsewhere leaves it as it was between two calls.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Internet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands out readiness; never waits, since the world lets time go on between turns.
#[derive(Debug)]
pub(crate) struct SimPoller {
    registrar: SimRegistrar,
    reports: Vec<Readiness>,
    /// The last wait brought some, and left some for the next.
    is_full: bool,
}

impl SimPoller {
    /// A poller for a node on this host, called by this number in traces.
    pub(crate) fn new(internet: &SharedInternet, host: IpAddr, name: usize) -> Self {
        let mut locked = internet.lock();
        locked.add_host(host);
        let index = locked.add_poller(name);
        drop(locked);
        Self {
            registrar: SimRegistrar {
                internet: internet.clone(),
                poller: index,
                host,
            },
            reports: Vec::new(),
            is_full: false,
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.registrar.poller
    }

    pub(crate) fn registrar(&self) -> &SimRegistrar {
        &self.registrar
    }

    pub(crate) fn wait(&mut self) {
        let poller = self.index();
        let mut internet = self.registrar.internet.lock();
        internet.take_ready(poller, &mut self.reports);
        // An interrupted wait knows nothing of what it left.
        self.is_full = !self.reports.is_empty() && internet.has_reports(poller);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(crate) fn ready(&self) -> impl Iterator<Item = Readiness> + '_ {
        self.reports.iter().copied()
    }

    pub(crate) fn now(&self) -> Instant {
        self.registrar.now()
    }
}

impl Drop for SimPoller {
    fn drop(&mut self) {
        self.registrar.internet.lock().remove_poller(self.index());
    }
}

#[derive(Clone, Debug)]
pub(crate) struct SimRegistrar {
    internet: SharedInternet,
    poller: usize,
    host: IpAddr,
}

impl SimRegistrar {
    pub(crate) fn connect(
        &self,
        addr: SocketAddr,
        source: Option<SocketAddr>,
        options: &SocketOptions,
    ) -> io::Result<SimStream> {
        let owner = Owner::SimPoller(self.poller);
        let mut internet = self.internet.lock();
        internet.check_exhausted(self.poller)?;
        let id = internet.connect(self.host, addr, source, owner, options.into())?;
        Ok(self.stream(id))
    }

    fn stream(&self, id: SocketId) -> SimStream {
        let internet = self.internet.clone();
        SimStream { internet, id }
    }

    pub(crate) fn bind(
        &self,
        addr: SocketAddr,
        options: &ListenOptions,
        sockets: &SocketOptions,
    ) -> io::Result<SimListener> {
        let kept = (options.backlog, options.reuse_port);
        let mut internet = self.internet.lock();
        let id = internet.listen(self.host, addr, kept, sockets.into())?;
        Ok(SimListener {
            registrar: self.clone(),
            id,
        })
    }

    pub(crate) fn now(&self) -> Instant {
        self.internet.lock().instant()
    }

    pub(crate) fn add_stream(&self, stream: &SimStream, token: usize) -> io::Result<()> {
        let mut internet = self.internet.lock();
        internet.register(stream.id, self.poller, token)
    }

    pub(crate) fn remove_stream(&self, stream: &SimStream) {
        self.internet.lock().unregister(stream.id);
    }

    pub(crate) fn add_listener(&self, listener: &SimListener, token: usize) {
        let mut internet = self.internet.lock();
        internet.register_listener(listener.id, self.poller, token);
    }

    pub(crate) fn remove_listener(&self, listener: &SimListener) {
        self.internet.lock().unregister_listener(listener.id);
    }

    pub(crate) fn waker(&self, token: usize) -> SimWake {
        self.internet.lock().set_waker(self.poller, token);
        SimWake {
            internet: self.internet.clone(),
            poller: self.poller,
        }
    }
}

#[derive(Debug)]
pub(crate) struct SimWake {
    internet: SharedInternet,
    poller: usize,
}

impl SimWake {
    pub(crate) fn wake(&self) {
        self.internet.lock().ask_wake(self.poller);
    }
}

#[derive(Debug)]
pub(crate) struct SimStream {
    internet: SharedInternet,
    id: SocketId,
}

impl SimStream {
    pub(crate) fn id(&self) -> SocketId {
        self.id
    }

    pub(crate) fn connected(&self) -> io::Result<Option<SocketAddr>> {
        self.internet.lock().connected(self.id)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.internet.lock().local_addr(self.id)
    }

    pub(crate) fn broken(&self) -> Option<io::Error> {
        self.internet.lock().take_error(self.id)
    }

    pub(crate) fn is_at_end(&self) -> io::Result<bool> {
        self.internet.lock().is_at_end(self.id)
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.internet.lock().read(self.id, buffer)
    }

    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.internet.lock().write(self.id, slices)
    }

    pub(crate) fn finish(&self) -> io::Result<()> {
        self.internet.lock().finish(self.id)
    }

    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        self.internet.lock().reset_on_close(self.id)
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.internet.lock().close(self.id, false);
    }
}

#[derive(Debug)]
pub(crate) struct SimListener {
    registrar: SimRegistrar,
    id: u64,
}

impl SimListener {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.registrar.internet.lock().listener_addr(self.id)
    }

    pub(crate) fn accept(&self) -> io::Result<(SimStream, SocketAddr)> {
        let poller = self.registrar.poller;
        let mut internet = self.registrar.internet.lock();
        let (id, addr) = internet.accept(self.id, poller)?;
        Ok((self.registrar.stream(id), addr))
    }

    /// Accepts and closes one who waits, whatever the process is out of.
    fn shed(&self) -> bool {
        let owner = Owner::SimPoller(self.registrar.poller);
        let mut internet = self.registrar.internet.lock();
        let taken = internet.take_waiting(self.id, owner);
        if let Some((id, _)) = taken {
            internet.close(id, false);
        }
        taken.is_some()
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.registrar.internet.lock().unlisten(self.id, false);
    }
}

/// A descriptor kept for the time when there is no other. There always is one.
#[derive(Debug)]
pub(crate) struct SimReserve;

impl SimReserve {
    pub(crate) fn shed(&self, listener: &SimListener, max: usize) -> usize {
        (0..max).take_while(|_| listener.shed()).count()
    }
}

impl From<&SocketOptions> for Buffers {
    fn from(options: &SocketOptions) -> Self {
        let SocketOptions {
            send_buffer,
            receive_buffer,
            ..
        } = *options;
        Self {
            send: send_buffer,
            receive: receive_buffer,
        }
    }
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
