//! Attempts to connect, and their handshakes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::event::{Event, SocketId};
use super::host_table::{check_local, host_of};
use super::internet::Internet;
use super::socket::{Buffers, Owner, Socket, SocketState};
use super::trace::Actor;

/// Default size of a kernel buffer, in bytes, unless the program or a fault
/// sets another one.
const BUFFER: usize = 128 * 1024;

/// Number of times that Linux repeats the answer of a handshake: after 1, 3, 7,
/// 15 and 31 seconds. It gives up after 63 seconds (tcp(7),
/// `tcp_synack_retries`).
const SYNACK_RETRIES: u32 = 5;

impl Internet {
    /// Starts connecting.
    pub(super) fn connect(
        &mut self,
        host: IpAddr,
        remote: SocketAddr,
        source: Option<SocketAddr>,
        owner: Owner,
        buffers: Buffers,
    ) -> io::Result<SocketId> {
        self.hosts.end_time_waits(self.now());
        // The unspecified address means this host (Linux, ip(7)).
        let ip = match remote.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let remote = SocketAddr::new(ip, remote.port());
        let local = self.choose_source(host, remote, source)?;
        let socket = Socket::new(host, local, remote, owner);
        let id = self.add_socket(socket, buffers);
        self.note(Actor::Network, "connect", id, u64::from(remote.port()));
        if self.random.chance(self.faults.lost_connect) {
            self.counts.lost_connects += 1;
            self.retry_syn(id, 0);
        } else {
            self.send_syn(id, 0);
        }
        Ok(id)
    }

    /// Returns the local address of a connection to `remote`.
    fn choose_source(
        &mut self,
        host: IpAddr,
        remote: SocketAddr,
        source: Option<SocketAddr>,
    ) -> io::Result<SocketAddr> {
        let ip = remote.ip();
        let mut local_ip = if ip.is_loopback() { ip } else { host };
        let mut port = 0;
        if let Some(source) = source {
            check_local(host, source.ip())?;
            if !source.ip().is_unspecified() {
                local_ip = source.ip();
            }
            port = source.port();
        }
        if local_ip.is_ipv4() != ip.is_ipv4() {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        if port == 0 {
            let other = Some((local_ip, remote));
            port = self.hosts.choose_port(host, other, &self.sockets)?;
        } else if self.hosts.is_taken(host, port, &self.sockets) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(SocketAddr::new(local_ip, port))
    }

    fn add_socket(&mut self, mut socket: Socket, buffers: Buffers) -> SocketId {
        let id = self.take_id();
        let (mut send, mut receive) = (BUFFER, BUFFER);
        if self.random.chance(self.faults.small_buffers) {
            send = 1 + self.random.below(4096) as usize;
            receive = 1 + self.random.below(4096) as usize;
        }
        socket.send_capacity = buffers.send.unwrap_or(send).max(1);
        socket.receive_capacity = buffers.receive.unwrap_or(receive).max(1);
        self.hosts.add_socket(socket.addresses(), id);
        self.sockets.insert(id, socket);
        id
    }

    /// Handles the first segment of a handshake at the accepting host.
    pub(super) fn syn_arrived(&mut self, from: SocketId, attempt: u32) {
        let Some(socket) = self.sockets.get(&from) else {
            return;
        };
        if socket.state != SocketState::SynSent {
            return;
        }
        let (local, remote) = (socket.local, socket.remote);
        let host = host_of(socket.host, remote.ip());
        // A simultaneous open, of two sockets or of one socket with itself (RFC
        // 9293, section 3.5).
        if let Some(other) = self.hosts.socket_between((host, remote, local)) {
            if self.sockets[&other].state == SocketState::SynSent {
                return self.open_simultaneously(from, other);
            }
        }
        if self.random.chance(self.faults.refused) {
            self.counts.refused += 1;
            return self.answer_reset(from);
        }
        if self.random.chance(self.faults.unreachable) {
            let latency = self.latency_of(from);
            return self.schedule_after(latency, Event::Unreachable { to: from });
        }
        let Some(listener) = self.listener_for(host, remote) else {
            self.counts.refused += 1;
            return self.answer_reset(from);
        };
        if self.is_backlog_full(listener) {
            self.counts.full_backlogs += 1;
            return self.retry_syn(from, attempt);
        }
        let Some(listening) = self.listeners.get_mut(&listener) else {
            return;
        };
        listening.start_handshake();
        let buffers = listening.settings.buffers;
        let mut socket = Socket::new(host, remote, local, Owner::Listener(listener));
        socket.state = SocketState::SynReceived;
        socket.accepted = true;
        socket.peer = Some(from);
        let to = self.add_socket(socket, buffers);
        let latency = self.latency_of(to);
        self.schedule_after(latency, Event::SynAck { to: from, from: to });
    }

    /// Handles the answer of a router that there is no route (ICMP). An
    /// established connection ignores it (RFC 1122, section 4.2.3.9).
    pub(super) fn unreachable(&mut self, id: SocketId) {
        let socket = self.sockets.get(&id);
        if socket.is_some_and(|socket| socket.state == SocketState::SynSent) {
            self.counts.unreachable += 1;
            let kind = if self.random.chance(0.5) {
                io::ErrorKind::HostUnreachable
            } else {
                io::ErrorKind::NetworkUnreachable
            };
            self.break_socket(id, kind);
        }
    }

    fn answer_reset(&mut self, to: SocketId) {
        let latency = self.latency_of(to);
        self.schedule_after(latency, Event::Reset { to });
    }

    fn latency_of(&self, id: SocketId) -> Duration {
        let Some(socket) = self.sockets.get(&id) else {
            return Duration::ZERO;
        };
        let there = host_of(socket.host, socket.remote.ip());
        self.links.between(socket.host, there).latency
    }

    /// Returns the listener for an address. If several share the port, it is
    /// drawn at random.
    fn listener_for(&mut self, host: IpAddr, addr: SocketAddr) -> Option<SocketId> {
        let ids = self.hosts.listeners_on(host, addr.port());
        let fits = |id: &&SocketId| {
            let bound = self.listeners[*id].addr.ip();
            bound.is_unspecified() || bound == addr.ip()
        };
        let fitting: Vec<SocketId> = ids.iter().filter(fits).copied().collect();
        match fitting.len() {
            0 | 1 => fitting.first().copied(),
            several => {
                let chosen = self.random.below(several as u64) as usize;
                Some(fitting[chosen])
            }
        }
    }

    fn open_simultaneously(&mut self, a: SocketId, b: SocketId) {
        self.counts.simultaneous_opens += 1;
        for (id, peer) in [(a, b), (b, a)] {
            self.establish(id, peer);
        }
    }

    fn establish(&mut self, id: SocketId, peer: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        if socket.state == SocketState::SynSent {
            socket.state = SocketState::Established;
            socket.peer = Some(peer);
            self.counts.established += 1;
            self.note(Actor::Network, "established", id, peer);
            self.edge(id, false, true);
        }
    }

    /// Handles the second segment of a handshake.
    pub(super) fn syn_ack_arrived(&mut self, to: SocketId, from: SocketId) {
        let socket = self.sockets.get(&to);
        if socket.is_none_or(|socket| socket.state != SocketState::SynSent) {
            return self.reset_arrived(from);
        }
        self.establish(to, from);
        let at = self.now() + self.latency_of(to);
        // Data that is sent at once arrives after the third segment.
        if let Some(socket) = self.sockets.get_mut(&to) {
            socket.next_arrival = socket.next_arrival.max(at);
        }
        let (to, attempt) = (from, 0);
        self.schedule(at, Event::HandshakeAck { to, attempt });
    }

    /// Returns whether a listener does not answer a new handshake now.
    fn is_backlog_full(&mut self, listener: SocketId) -> bool {
        let Some(listening) = self.listeners.get(&listener) else {
            return true;
        };
        if listening.is_full() {
            return true;
        }
        listening.is_promised() && !self.random.chance(self.faults.overbooked_backlog)
    }

    /// Handles the third segment of a handshake: the connection waits to be
    /// accepted, if the backlog has a place.
    pub(super) fn handshake_ack_arrived(&mut self, id: SocketId, attempt: u32) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let Owner::Listener(listener) = socket.owner else {
            return;
        };
        let Some(listening) = self.listeners.get_mut(&listener) else {
            return;
        };
        if listening.is_full() {
            return self.lose_handshake_ack(id, attempt);
        }
        socket.state = SocketState::Established;
        listening.complete_handshake(id);
        self.edge_listener(listener);
    }

    /// Handles a complete handshake for which the backlog has no place. Linux
    /// ignores its third segment and waits until it is repeated, with the data
    /// after it. The connecting end does not notice.
    fn lose_handshake_ack(&mut self, id: SocketId, attempt: u32) {
        self.counts.overbooked_backlogs += 1;
        if attempt > SYNACK_RETRIES {
            return self.drop_handshake(id);
        }
        let at = self.now() + Duration::from_secs(1 << attempt);
        let peer = self.sockets.get(&id).and_then(|socket| socket.peer);
        if let Some(peer) = peer.and_then(|peer| self.sockets.get_mut(&peer)) {
            peer.resent_at = peer.resent_at.max(at);
            peer.next_arrival = peer.next_arrival.max(at + Duration::from_nanos(1));
        }
        let (to, attempt) = (id, attempt + 1);
        self.schedule(at, Event::HandshakeAck { to, attempt });
    }

    /// Starts the timeout of a handshake of which a part was lost. The
    /// accepting end then drops the handshake.
    pub(super) fn start_handshake_timeout(&mut self, socket: SocketId) {
        let delay = Duration::from_secs((1 << (SYNACK_RETRIES + 1)) - 1);
        self.schedule_after(delay, Event::HandshakeTimeout { socket });
    }

    /// Drops a handshake at its accepting end, unless it is complete.
    pub(super) fn drop_handshake(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(&id) else {
            return;
        };
        if let (SocketState::SynReceived, Owner::Listener(listener)) = (socket.state, socket.owner)
        {
            if let Some(listening) = self.listeners.get_mut(&listener) {
                listening.drop_handshake();
            }
            self.forget(id);
        }
    }
}
