//! Calls on listening sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::event::{Event, PollerId, SocketId};
use super::host_table::check_local;
use super::internet::Internet;
use super::listen_queue::{ListenQueue, ListenSettings};
use super::selector::Selector;
use super::socket::{Owner, Socket};
use super::trace::Actor;

impl Internet {
    pub(super) fn listen(
        &mut self,
        host: IpAddr,
        addr: SocketAddr,
        settings: ListenSettings,
    ) -> io::Result<SocketId> {
        self.hosts.end_time_waits(self.now());
        check_local(host, addr.ip())?;
        let port = match addr.port() {
            0 => self.hosts.choose_port(host, None, &self.sockets)?,
            port => port,
        };
        let shares = |id: &SocketId| settings.reuse_port && self.listeners[id].settings.reuse_port;
        let is_in_use = !self.hosts.listeners_on(host, port).iter().all(shares);
        if is_in_use || self.hosts.is_used_outbound(host, port, &self.sockets) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let id = self.take_id();
        let addr = SocketAddr::new(addr.ip(), port);
        let queue = ListenQueue::new(host, addr, settings);
        self.listeners.insert(id, queue);
        self.hosts.add_listener(host, port, id);
        self.note(Actor::Network, "listen", id, u64::from(port));
        Ok(id)
    }

    pub(super) fn listener_addr(&self, id: SocketId) -> io::Result<SocketAddr> {
        let listening = self.listeners.get(&id);
        listening
            .map(|listening| listening.addr)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Returns the local address of every accepted connection, if a program
    /// knows it without a call: that of a listener of one address, with epoll.
    pub(super) fn accepts_on(&self, id: SocketId) -> Option<SocketAddr> {
        let listening = self.listeners.get(&id)?;
        let is_known = self.hosts.selector(listening.host) == Selector::Epoll;
        let is_one = !listening.addr.ip().is_unspecified();
        (is_known && is_one).then_some(listening.addr)
    }

    pub(super) fn listeners_of(&self, poller: PollerId) -> Vec<SocketId> {
        let of_poller = |(id, listening): (&SocketId, &ListenQueue)| {
            let (owner, _) = listening.registration?;
            (owner == poller).then_some(*id)
        };
        self.listeners.iter().filter_map(of_poller).collect()
    }

    /// Closes a listener. Connections that were not accepted are reset, or get
    /// no answer with `silently`.
    pub(super) fn close_listener(&mut self, id: SocketId, silently: bool) {
        self.unregister_listener(id);
        let Some(listening) = self.listeners.remove(&id) else {
            return;
        };
        let port = listening.addr.port();
        self.hosts.remove_listener(listening.host, port, id);
        let is_left = |socket: &Socket| socket.owner == Owner::Listener(id);
        let of_host = self.hosts.sockets_of(listening.host);
        let left: Vec<SocketId> = of_host
            .filter(|id| self.sockets.get(id).is_some_and(is_left))
            .collect();
        for socket in left {
            if silently {
                self.power_off_socket(socket);
            } else {
                self.close(socket, true);
            }
        }
    }

    /// Accepts a connection for the node of this poller.
    pub(super) fn accept(
        &mut self,
        listener: SocketId,
        poller: PollerId,
    ) -> io::Result<(SocketId, SocketAddr)> {
        if self.random.chance(self.faults.interrupted) {
            self.counts.interrupted += 1;
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.check_shortage(poller)?;
        let Some(listening) = self.listeners.get_mut(&listener) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if listening.waiting() == 0 {
            self.rearm_listener(listener);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.random.chance(self.faults.would_block) {
            self.counts.would_blocks += 1;
            listening.delay_report();
            self.rearm_listener(listener);
            self.schedule_soon(Event::ReportListenerLate { listener });
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let is_aborted = self.random.chance(self.faults.aborted_accept);
        let taken = self.take_waiting(listener, Owner::Node(poller));
        let (id, addr) = taken.ok_or(io::ErrorKind::WouldBlock)?;
        if is_aborted {
            self.counts.aborted_accepts += 1;
            self.close(id, true);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.note(Actor::Node(poller), "accept", id, 0);
        Ok((id, addr))
    }

    /// Transfers the oldest waiting connection to `owner`.
    pub(super) fn take_waiting(
        &mut self,
        listener: SocketId,
        owner: Owner,
    ) -> Option<(SocketId, SocketAddr)> {
        let id = self.listeners.get_mut(&listener)?.take_waiting()?;
        let socket = self.sockets.get_mut(&id)?;
        socket.owner = owner;
        Some((id, socket.remote))
    }

    /// Returns the number of connections that wait to be accepted.
    pub(crate) fn waiting(&self, listener: SocketId) -> usize {
        let listening = self.listeners.get(&listener);
        listening.map_or(0, ListenQueue::waiting)
    }

    /// Returns whether a report for a listener is due or delayed.
    pub(crate) fn is_listener_awaited(&self, listener: SocketId) -> bool {
        let listening = self.listeners.get(&listener);
        listening.is_none_or(ListenQueue::is_awaited)
    }

    pub(super) fn report_listener_late(&mut self, id: SocketId) {
        if let Some(listening) = self.listeners.get_mut(&id) {
            listening.report_late();
        }
        self.edge_listener(id);
    }
}
