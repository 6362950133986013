//! A simulated kernel and network: one [`Internet`] for all nodes of a world,
//! with a virtual clock. All random numbers are drawn from the world's seed.
//!
//! The behaviour towards programs is that of mio on a Linux kernel. The types
//! in this file are handles, as thin as the types of `os`.
//!
//! The files are ordered, and each imports only from files before it:
//!
//! ```text
//! event  random  link                              names, chance
//! clock  faults  schedule  selector  trace  links  state that needs nothing else
//! delivery_check  poller_state  socket  udp_socket
//! host_table  listen_queue
//! internet                                         has all of it, and runs the events
//! calls  connect  crash  datagrams  delivery  inspect  listen
//! partition  ready  segments  shortage  spurious  teardown  udp_ready  wires
//! ```

mod calls;
mod clock;
mod connect;
mod crash;
mod datagrams;
mod delivery;
mod delivery_check;
mod event;
mod fault_counts;
mod faults;
mod host_table;
mod inspect;
mod internet;
mod link;
mod links;
mod listen;
mod listen_queue;
mod listener;
mod partition;
mod poller_state;
mod random;
mod ready;
mod schedule;
mod segments;
mod selector;
mod shortage;
mod socket;
mod spurious;
mod teardown;
mod trace;
mod udp;
mod udp_ready;
mod udp_socket;
mod wires;

use crate::framing::Framing;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Readiness, SocketOptions};
use crate::config::ListenOptions;

use delivery_check::Reference;
pub(crate) use delivery_check::{PassedBytes, Source};
pub(crate) use event::{PollerId, SocketId};
pub(crate) use inspect::SocketInspection;
pub(crate) use internet::Internet;
pub(crate) use listener::{SimListener, SimReserve};
pub(crate) use trace::{Actor, digest};
pub(crate) use udp::SimUdp;

pub use fault_counts::FaultCounts;
pub use faults::Faults;
pub use link::Link;
pub use random::Random;
pub use selector::Selector;
pub use trace::Trace;

use listen_queue::ListenSettings;
use socket::{Buffers, Owner};

/// The internet, shared by a world and its nodes.
#[derive(Clone, Debug)]
pub(crate) struct SharedInternet(Arc<Mutex<Internet>>);

impl SharedInternet {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Internet::new(seed))))
    }

    /// Locks the internet. The lock is not held while a callback runs, so a
    /// panic of a callback leaves the internet in the state between two calls.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Internet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns readiness without waiting, because the world advances the time
/// between turns.
#[derive(Debug)]
pub(crate) struct SimPoller {
    registrar: SimRegistrar,
    reports: Vec<Readiness>,
    /// The last wait left reports for the next one.
    is_full: bool,
}

impl SimPoller {
    /// Makes a poller for a node on this host. `name` is the node's number in
    /// traces.
    pub(crate) fn new(internet: &SharedInternet, host: IpAddr, name: usize) -> Self {
        let mut locked = internet.lock();
        locked.add_host(host);
        let index = locked.add_poller(host, name);
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

    pub(crate) fn index(&self) -> PollerId {
        self.registrar.poller
    }

    pub(crate) fn registrar(&self) -> &SimRegistrar {
        &self.registrar
    }

    pub(crate) fn wait(
        &mut self,
        _timeout: Option<Duration>,
        _deadline: Option<Instant>,
        _now: Option<Instant>,
    ) -> io::Result<()> {
        let poller = self.index();
        let mut internet = self.registrar.internet.lock();
        internet.take_ready(poller, &mut self.reports);
        // An interrupted wait returns no reports, so it cannot be full.
        self.is_full = !self.reports.is_empty() && internet.has_reports(poller);
        Ok(())
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
    poller: PollerId,
    host: IpAddr,
}

impl SimRegistrar {
    pub(crate) fn connect(
        &self,
        addr: SocketAddr,
        source: Option<SocketAddr>,
        options: &SocketOptions,
    ) -> io::Result<SimStream> {
        let owner = Owner::Node(self.poller);
        let mut internet = self.internet.lock();
        internet.check_shortage(self.poller)?;
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
        let settings = ListenSettings {
            backlog: options.backlog,
            reuse_port: options.reuse_port,
            buffers: sockets.into(),
        };
        let id = self.internet.lock().listen(self.host, addr, settings)?;
        Ok(SimListener {
            registrar: self.clone(),
            id,
        })
    }

    pub(crate) fn now(&self) -> Instant {
        self.internet.lock().clock(self.poller)
    }

    pub(crate) fn add_stream(&self, stream: &SimStream, token: usize) -> io::Result<()> {
        let mut internet = self.internet.lock();
        internet.register(stream.id, self.poller, token)
    }

    pub(crate) fn watch_room(&self, stream: &SimStream, _token: usize) -> io::Result<()> {
        self.internet.lock().watch_room(stream.id);
        Ok(())
    }

    /// Closing ends the registration, because a simulated socket has one
    /// descriptor.
    pub(crate) fn close_stream(&self, stream: SimStream) -> io::Result<()> {
        drop(stream);
        Ok(())
    }

    pub(crate) fn remove_stream(&self, stream: &SimStream) -> io::Result<()> {
        self.internet.lock().unregister(stream.id);
        Ok(())
    }

    pub(crate) fn add_listener(&self, listener: &SimListener, token: usize) -> io::Result<()> {
        let mut internet = self.internet.lock();
        internet.register_listener(listener.id, self.poller, token);
        Ok(())
    }

    pub(crate) fn remove_listener(&self, listener: &SimListener) -> io::Result<()> {
        self.internet.lock().unregister_listener(listener.id);
        Ok(())
    }

    pub(crate) fn waker(&self, token: usize) -> io::Result<SimWake> {
        self.internet.lock().set_waker(self.poller, token);
        Ok(SimWake {
            internet: self.internet.clone(),
            poller: self.poller,
        })
    }
}

#[derive(Debug)]
pub(crate) struct SimWake {
    internet: SharedInternet,
    poller: PollerId,
}

impl SimWake {
    pub(crate) fn wake(&self) -> io::Result<()> {
        self.internet.lock().request_wake(self.poller);
        Ok(())
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

    /// Tells the delivery check that the framing changes. The framer is made
    /// before the lock is taken, because it is code of the program.
    pub(crate) fn note_framing(&self, framing: &Framing) {
        let reference = Reference::new(framing);
        self.internet.lock().change_framing(self.id, reference);
    }

    /// Returns whether an event that only reports room for writing means that
    /// the connection is established.
    pub(crate) fn writable_means_connected(&self) -> bool {
        self.internet.lock().is_on_epoll(self.id)
    }

    pub(crate) fn connected(&self) -> io::Result<Option<SocketAddr>> {
        self.internet.lock().connected(self.id)
    }

    /// Has no effect, because the options of the system are not simulated.
    pub(crate) fn set_options(&self, _: &SocketOptions) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.internet.lock().local_addr(self.id)
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.internet.lock().take_error(self.id)
    }

    pub(crate) fn is_at_end(&self) -> io::Result<bool> {
        self.internet.lock().is_at_end(self.id)
    }

    /// Returns whether a read that did not fill its buffer has emptied the
    /// socket.
    pub(crate) fn short_read_is_empty(&self) -> bool {
        self.internet.lock().is_on_epoll(self.id)
    }

    /// Returns whether a write that was not taken whole has filled the socket.
    pub(crate) fn short_write_is_full(&self) -> bool {
        self.internet.lock().is_on_epoll(self.id)
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.internet.lock().read(self.id, buffer)
    }

    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.internet.lock().write(self.id, slices)
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        self.internet.lock().shutdown_write(self.id)
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
mod kernel_tests;
