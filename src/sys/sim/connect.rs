//! Dialling, and the handshake that follows.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::event::Event;
use super::internet::Internet;
use super::socket::{Owner, Socket, SocketId, SocketState};
use super::trace::Who;

/// Bytes that a kernel buffer holds unless the program or the faults say otherwise.
const BUFFER: usize = 128 * 1024;

/// How often Linux repeats the answer to a call: after 1, 3, 7, 15 and 31 seconds; it gives up after 63 (tcp(7),
/// `tcp_synack_retries`).
const SYNACK_RETRIES: u32 = 5;

/// The sizes of a socket's buffers, if the program has set them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) send: Option<usize>,
    pub(crate) receive: Option<usize>,
}

impl Internet {
    /// Begins to connect.
    pub(super) fn connect(
        &mut self,
        host: IpAddr,
        remote: SocketAddr,
        source: Option<SocketAddr>,
        owner: Owner,
        buffers: Buffers,
    ) -> io::Result<SocketId> {
        self.end_time_waits();
        // To dial the unspecified address is to dial this host (Linux, ip(7)).
        let ip = match remote.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let remote = SocketAddr::new(ip, remote.port());
        let mut local_ip = if ip.is_loopback() { ip } else { host };
        let mut port = 0;
        if let Some(source) = source {
            self.check_local(host, source.ip())?;
            if !source.ip().is_unspecified() {
                local_ip = source.ip();
            }
            port = source.port();
        }
        if local_ip.is_ipv4() != ip.is_ipv4() {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        if port == 0 {
            port = self.free_port(host, Some((local_ip, remote)))?;
        } else if self.is_taken(host, port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let local = SocketAddr::new(local_ip, port);
        let socket = Socket::new(host, local, remote, owner);
        let id = self.add_socket(socket, buffers);
        self.note(Who::Network, "dial", id, u64::from(remote.port()));
        if self.random.chance(self.faults.lost_connect) {
            self.happened.lost_connects += 1;
            self.retry_call(id, 0);
        } else {
            self.send_syn(id, 0);
        }
        Ok(id)
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
        let key = (socket.host, socket.local, socket.remote);
        self.by_addresses.insert(key, id);
        self.sockets.insert(id, socket);
        id
    }

    /// A call has come to a host.
    pub(super) fn call_arrived(&mut self, from: SocketId, attempt: u32) {
        let Some(caller) = self.sockets.get(&from) else {
            return;
        };
        if caller.state != SocketState::SynSent {
            return;
        }
        let (local, remote) = (caller.local, caller.remote);
        let host = self.host_of(caller.host, remote.ip());
        // Somebody who calls back: both ends dialled, or one itself (RFC 9293, 3.5).
        if let Some(&other) = self.by_addresses.get(&(host, remote, local)) {
            if self.sockets[&other].state == SocketState::SynSent {
                return self.meet(from, other);
            }
        }
        if self.random.chance(self.faults.refused) {
            self.happened.refused += 1;
            return self.answer_reset(from);
        }
        if self.random.chance(self.faults.unreachable) {
            let at = self.now + self.latency_of(from);
            return self.schedule(at, Event::Unreachable { to: from });
        }
        let Some(listener) = self.listener_for(host, remote) else {
            self.happened.refused += 1;
            return self.answer_reset(from);
        };
        if self.is_backlog_full(listener) {
            self.happened.full_backlogs += 1;
            return self.retry_call(from, attempt);
        }
        let Some(listening) = self.listeners.get_mut(&listener) else {
            return;
        };
        listening.arriving += 1;
        let buffers = listening.buffers;
        let mut socket = Socket::new(host, remote, local, Owner::SimListener(listener));
        socket.state = SocketState::Arriving;
        socket.accepted = true;
        socket.peer = Some(from);
        let to = self.add_socket(socket, buffers);
        let at = self.now + self.latency_of(to);
        self.schedule(at, Event::SynAck { to: from, from: to });
    }

    /// A router has no way for a call (ICMP). Only those who have no connection yet give up for that (RFC 1122, 4.2.3.9).
    pub(super) fn unreachable(&mut self, id: SocketId) {
        let socket = self.sockets.get(&id);
        if socket.is_some_and(|socket| socket.state == SocketState::SynSent) {
            self.happened.unreachable += 1;
            let kind = if self.random.chance(0.5) {
                io::ErrorKind::HostUnreachable
            } else {
                io::ErrorKind::NetworkUnreachable
            };
            self.break_off(id, kind);
        }
    }

    fn answer_reset(&mut self, to: SocketId) {
        let at = self.now + self.latency_of(to);
        self.schedule(at, Event::Reset { to });
    }

    fn latency_of(&self, id: SocketId) -> Duration {
        let Some(socket) = self.sockets.get(&id) else {
            return Duration::ZERO;
        };
        let there = self.host_of(socket.host, socket.remote.ip());
        self.link_between(socket.host, there).latency
    }

    /// Which listener gets a call; among several that share the port, chance has it.
    fn listener_for(&mut self, host: IpAddr, addr: SocketAddr) -> Option<u64> {
        let ids = self.hosts.get(&host)?.ports.get(&addr.port())?;
        let fits = |id: &&u64| {
            let bound = self.listeners[*id].addr.ip();
            bound.is_unspecified() || bound == addr.ip()
        };
        let fitting: Vec<u64> = ids.iter().filter(fits).copied().collect();
        match fitting.len() {
            0 | 1 => fitting.first().copied(),
            several => {
                let chosen = self.random.below(several as u64) as usize;
                Some(fitting[chosen])
            }
        }
    }

    /// Two calls have met.
    fn meet(&mut self, a: SocketId, b: SocketId) {
        self.happened.simultaneous_opens += 1;
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
            self.happened.established += 1;
            self.note(Who::Network, "established", id, peer);
            self.edge(id, false, true);
        }
    }

    /// A call was answered.
    pub(super) fn answered(&mut self, to: SocketId, from: SocketId) {
        let waits = self
            .sockets
            .get(&to)
            .is_some_and(|socket| socket.state == SocketState::SynSent);
        if !waits {
            return self.reset_arrived(from);
        }
        self.establish(to, from);
        let at = self.now + self.latency_of(to);
        // What is sent at once comes after it.
        if let Some(socket) = self.sockets.get_mut(&to) {
            socket.next_arrival = socket.next_arrival.max(at);
        }
        let (to, attempt) = (from, 0);
        self.schedule(at, Event::Established { to, attempt });
    }

    /// Whether a listener answers no call now. Linux lets one more wait than the backlog says.
    fn is_backlog_full(&mut self, listener: u64) -> bool {
        let Some(listening) = self.listeners.get(&listener) else {
            return true;
        };
        let (waiting, backlog) = (listening.waiting.len(), listening.backlog);
        let is_promised = listening.arriving + waiting > backlog;
        waiting > backlog || (is_promised && !self.random.chance(self.faults.overbooked_backlog))
    }

    /// The handshake is complete: the connection waits to be accepted, if there is a place for it.
    pub(super) fn call_completed(&mut self, id: SocketId, attempt: u32) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let Owner::SimListener(listener) = socket.owner else {
            return;
        };
        let Some(listening) = self.listeners.get_mut(&listener) else {
            return;
        };
        if listening.waiting.len() > listening.backlog {
            return self.put_off(id, attempt);
        }
        socket.state = SocketState::Established;
        listening.arriving -= 1;
        listening.waiting.push_back(id);
        self.edge_listener(listener);
    }

    /// There is no place for one whose handshake is complete. Linux takes its last word for lost and waits for it to be
    /// repeated, with the data that came after it; the caller knows nothing of that.
    fn put_off(&mut self, id: SocketId, attempt: u32) {
        self.happened.overbooked_backlogs += 1;
        if attempt > SYNACK_RETRIES {
            return self.drop_call(id);
        }
        let at = self.now + Duration::from_secs(1 << attempt);
        let caller = self.sockets.get(&id).and_then(|socket| socket.peer);
        if let Some(caller) = caller.and_then(|caller| self.sockets.get_mut(&caller)) {
            caller.resent_at = caller.resent_at.max(at);
            caller.next_arrival = caller.next_arrival.max(at + Duration::from_nanos(1));
        }
        let (to, attempt) = (id, attempt + 1);
        self.schedule(at, Event::Established { to, attempt });
    }

    /// Part of a handshake was lost: whoever was called gives up in the end.
    pub(super) fn begin_to_drop_call(&mut self, socket: SocketId) {
        let after = Duration::from_secs((1 << (SYNACK_RETRIES + 1)) - 1);
        self.schedule(self.now + after, Event::DropCall { socket });
    }

    /// Forgets a call that was answered, if it has not been completed.
    pub(super) fn drop_call(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(&id) else {
            return;
        };
        if let (SocketState::Arriving, Owner::SimListener(listener)) = (socket.state, socket.owner)
        {
            if let Some(listening) = self.listeners.get_mut(&listener) {
                listening.arriving -= 1;
            }
            self.forget(id);
        }
    }
}
