//! Listeners, and those who wait at them.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::connect::Buffers;
use super::event::Event;
use super::internet::Internet;
use super::socket::{Owner, SocketId};
use super::trace::Who;

#[derive(Debug)]
pub(super) struct ListenQueue {
    host: IpAddr,
    pub(super) addr: SocketAddr,
    reuse_port: bool,
    pub(super) backlog: usize,
    pub(super) buffers: Buffers,
    /// Calls that were answered and not completed.
    pub(super) arriving: usize,
    /// Completed, and not accepted.
    pub(super) waiting: VecDeque<SocketId>,
    pub(super) registration: Option<(usize, usize)>,
    pub(super) queued: bool,
    /// Reports that were put off.
    late: u32,
}

impl Internet {
    pub(super) fn listen(
        &mut self,
        host: IpAddr,
        addr: SocketAddr,
        options: (u32, bool),
        buffers: Buffers,
    ) -> io::Result<u64> {
        self.end_time_waits();
        self.check_local(host, addr.ip())?;
        let (backlog, reuse_port) = options;
        let port = match addr.port() {
            0 => self.free_port(host, None)?,
            port => port,
        };
        let shared = |id: &u64| reuse_port && self.listeners[id].reuse_port;
        let in_use = self
            .hosts
            .get(&host)
            .and_then(|host| host.ports.get(&port))
            .is_some_and(|ids| !ids.iter().all(shared));
        if in_use || self.is_connected_from(host, port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let id = self.take_id();
        let addr = SocketAddr::new(addr.ip(), port);
        self.listeners.insert(
            id,
            ListenQueue {
                host,
                addr,
                reuse_port,
                backlog: backlog as usize,
                buffers,
                arriving: 0,
                waiting: VecDeque::new(),
                registration: None,
                queued: false,
                late: 0,
            },
        );
        if let Some(host) = self.hosts.get_mut(&host) {
            host.ports.entry(port).or_default().push(id);
        }
        self.note(Who::Network, "listen", id, u64::from(port));
        Ok(id)
    }

    pub(super) fn listener_addr(&self, id: u64) -> io::Result<SocketAddr> {
        let listening = self.listeners.get(&id);
        listening
            .map(|listening| listening.addr)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    pub(super) fn listeners_of(&self, poller: usize) -> Vec<u64> {
        let of_poller = |(id, listening): (&u64, &ListenQueue)| {
            let (owner, _) = listening.registration?;
            (owner == poller).then_some(*id)
        };
        self.listeners.iter().filter_map(of_poller).collect()
    }

    /// Closes a listener. Whoever was not accepted is reset.
    pub(super) fn unlisten(&mut self, id: u64, silently: bool) {
        self.unregister_listener(id);
        let Some(listening) = self.listeners.remove(&id) else {
            return;
        };
        if let Some(host) = self.hosts.get_mut(&listening.host) {
            let port = listening.addr.port();
            if let Some(ids) = host.ports.get_mut(&port) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    host.ports.remove(&port);
                }
            }
        }
        let left: Vec<SocketId> = self
            .sockets
            .iter()
            .filter(|(_, socket)| socket.owner == Owner::SimListener(id))
            .map(|(id, _)| *id)
            .collect();
        for socket in left {
            if silently {
                self.vanish(socket);
            } else {
                self.close(socket, true);
            }
        }
    }

    /// Takes the first who waits, as the node of this poller.
    pub(super) fn accept(
        &mut self,
        listener: u64,
        poller: usize,
    ) -> io::Result<(SocketId, SocketAddr)> {
        if self.random.chance(self.faults.interrupted) {
            self.happened.interrupted += 1;
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.check_exhausted(poller)?;
        let Some(listening) = self.listeners.get(&listener) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if listening.waiting.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.random.chance(self.faults.would_block) {
            self.happened.would_blocks += 1;
            if let Some(listening) = self.listeners.get_mut(&listener) {
                listening.late += 1;
            }
            self.schedule_soon(Event::LateListener { listener });
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let aborted = self.random.chance(self.faults.aborted_accept);
        let taken = self.take_waiting(listener, Owner::SimPoller(poller));
        let (id, addr) = taken.ok_or(io::ErrorKind::WouldBlock)?;
        if aborted {
            self.happened.aborted_accepts += 1;
            self.close(id, true);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.note(Who::Node(poller), "accept", id, 0);
        Ok((id, addr))
    }

    pub(super) fn take_waiting(
        &mut self,
        listener: u64,
        owner: Owner,
    ) -> Option<(SocketId, SocketAddr)> {
        let listening = self.listeners.get_mut(&listener)?;
        let id = listening.waiting.pop_front()?;
        let socket = self.sockets.get_mut(&id)?;
        socket.owner = owner;
        Some((id, socket.remote))
    }

    /// How many wait to be accepted.
    pub(crate) fn waiting(&self, listener: u64) -> usize {
        let listening = self.listeners.get(&listener);
        listening.map_or(0, |listening| listening.waiting.len())
    }

    /// Whether a report for a listener is due or under way.
    pub(crate) fn is_listener_awaited(&self, listener: u64) -> bool {
        self.listeners
            .get(&listener)
            .is_none_or(|listening| listening.queued || listening.late > 0)
    }

    pub(super) fn late_listener(&mut self, id: u64) {
        if let Some(listening) = self.listeners.get_mut(&id) {
            listening.late -= 1;
        }
        self.edge_listener(id);
    }
}
