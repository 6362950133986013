//! Ports, dialling and being dialled.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::internet::{Event, Internet};
use super::socket::{Owner, Registration, Socket, SocketId, State};
use super::trace::Who;

/// Bytes that a kernel buffer holds unless the program or the faults say otherwise.
const BUFFER: usize = 128 * 1024;

/// Ports that the system gives out by itself (Linux, `ip_local_port_range`).
const FIRST_PORT: u16 = 32_768;
const LAST_PORT: u16 = 60_999;

/// How long a process has no descriptor or memory, at most.
const EXHAUSTED_MAX: Duration = Duration::from_secs(3);

/// What a process is out of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Want {
    /// EMFILE
    Process,
    /// ENFILE
    System,
    /// ENOMEM
    Memory,
}

impl Want {
    fn error(self) -> io::Error {
        match self {
            Self::Process => io::Error::from_raw_os_error(24),
            Self::System => io::Error::from_raw_os_error(23),
            Self::Memory => io::ErrorKind::OutOfMemory.into(),
        }
    }
}

/// The sizes of a socket's buffers, if the program has set them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) send: Option<usize>,
    pub(crate) receive: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Listening {
    host: IpAddr,
    addr: SocketAddr,
    reuse_port: bool,
    backlog: usize,
    buffers: Buffers,
    /// Calls that were answered and not completed.
    arriving: usize,
    /// Completed, and not accepted.
    waiting: VecDeque<SocketId>,
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
        if in_use || self.is_bound(host, port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let id = self.take_id();
        let addr = SocketAddr::new(addr.ip(), port);
        self.listeners.insert(
            id,
            Listening {
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
        let of_poller = |(id, listening): (&u64, &Listening)| {
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
            .filter(|(_, socket)| socket.owner == Owner::Listener(id))
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

    /// Begins to connect.
    pub(super) fn dial(
        &mut self,
        host: IpAddr,
        remote: SocketAddr,
        source: Option<SocketAddr>,
        owner: Owner,
        buffers: Buffers,
    ) -> io::Result<SocketId> {
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
        } else if self.is_bound(host, port) || self.hosts[&host].ports.contains_key(&port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let local = SocketAddr::new(local_ip, port);
        let socket = Socket::new(host, local, remote, owner);
        let id = self.add_socket(socket, buffers);
        self.note(Who::Network, "dial", id, u64::from(remote.port()));
        if self.random.chance(self.faults.lost_dial) {
            self.happened.lost_dials += 1;
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

    /// Whether an address may be bound on a host.
    fn check_local(&self, host: IpAddr, ip: IpAddr) -> io::Result<()> {
        let is_own = ip == host || ip.is_loopback();
        if is_own || (ip.is_unspecified() && ip.is_ipv4() == host.is_ipv4()) {
            Ok(())
        } else {
            Err(io::ErrorKind::AddrNotAvailable.into())
        }
    }

    /// Whether a dialling socket of the host has this port.
    fn is_bound(&self, host: IpAddr, port: u16) -> bool {
        self.sockets.values().any(|socket| {
            socket.host == host
                && socket.local.port() == port
                && !socket.accepted
                && !socket.is_over()
        })
    }

    /// The next port that nobody has; for a dial, that nobody has with this other end.
    fn free_port(&mut self, host: IpAddr, dial: Option<(IpAddr, SocketAddr)>) -> io::Result<u16> {
        let Some(there) = self.hosts.get(&host) else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let mut port = there.next_port;
        for _ in FIRST_PORT..=LAST_PORT {
            port = if port >= LAST_PORT {
                FIRST_PORT
            } else {
                port + 1
            };
            let taken = match dial {
                Some((ip, remote)) => {
                    let key = (host, SocketAddr::new(ip, port), remote);
                    self.by_addresses.contains_key(&key)
                }
                None => self.is_bound(host, port),
            };
            if taken || self.hosts[&host].ports.contains_key(&port) {
                continue;
            }
            if let Some(there) = self.hosts.get_mut(&host) {
                there.next_port = port;
            }
            return Ok(port);
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    /// A call has come to a host.
    pub(super) fn call_arrived(&mut self, from: SocketId, attempt: u32) {
        let Some(caller) = self.sockets.get(&from) else {
            return;
        };
        if caller.state != State::SynSent {
            return;
        }
        let (local, remote) = (caller.local, caller.remote);
        let host = self.host_of(caller.host, remote.ip());
        // Somebody who calls back: both ends dialled, or one itself (RFC 9293, 3.5).
        if let Some(&other) = self.by_addresses.get(&(host, remote, local)) {
            if self.sockets[&other].state == State::SynSent {
                return self.meet(from, other);
            }
        }
        if self.random.chance(self.faults.refused) {
            self.happened.refused += 1;
            return self.answer_reset(from);
        }
        let Some(listener) = self.listener_for(host, remote) else {
            self.happened.refused += 1;
            return self.answer_reset(from);
        };
        let Some(listening) = self.listeners.get_mut(&listener) else {
            return;
        };
        // Linux lets one more wait than the backlog says.
        if listening.arriving + listening.waiting.len() > listening.backlog {
            self.happened.full_backlogs += 1;
            return self.retry_call(from, attempt);
        }
        listening.arriving += 1;
        let buffers = listening.buffers;
        let mut socket = Socket::new(host, remote, local, Owner::Listener(listener));
        socket.state = State::Arriving;
        socket.accepted = true;
        socket.peer = Some(from);
        let to = self.add_socket(socket, buffers);
        let at = self.now + self.latency_of(to);
        self.schedule(at, Event::SynAck { to: from, from: to });
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
        if socket.state == State::SynSent {
            socket.state = State::Established;
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
            .is_some_and(|socket| socket.state == State::SynSent);
        if !waits {
            return self.reset_arrived(from);
        }
        self.establish(to, from);
        let at = self.now + self.latency_of(to);
        // What is sent at once comes after it.
        if let Some(socket) = self.sockets.get_mut(&to) {
            socket.next_arrival = socket.next_arrival.max(at);
        }
        self.schedule(at, Event::Established { to: from });
    }

    /// The handshake is complete: the connection waits to be accepted.
    pub(super) fn call_completed(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(&id) else {
            return;
        };
        let Owner::Listener(listener) = socket.owner else {
            return;
        };
        if let Some(listening) = self.listeners.get_mut(&listener) {
            listening.arriving = listening.arriving.saturating_sub(1);
            listening.waiting.push_back(id);
            self.edge_listener(listener);
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
        let taken = self.take_waiting(listener, Owner::Poller(poller));
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
        if socket.state == State::Arriving {
            socket.state = State::Established;
        }
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

    fn check_exhausted(&mut self, poller: usize) -> io::Result<()> {
        if let Some((until, want)) = self.pollers[poller].exhausted {
            if until > self.now {
                return Err(want.error());
            }
            self.pollers[poller].exhausted = None;
        }
        if !self.random.chance(self.faults.no_descriptor) {
            return Ok(());
        }
        self.happened.no_descriptor += 1;
        let time = Duration::from_nanos(self.random.below(EXHAUSTED_MAX.as_nanos() as u64));
        let want = match self.random.below(3) {
            0 => Want::Process,
            1 => Want::System,
            _ => Want::Memory,
        };
        self.pollers[poller].exhausted = Some((self.now + time, want));
        Err(want.error())
    }

    pub(super) fn register(&mut self, id: SocketId, poller: usize, token: usize) -> io::Result<()> {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        socket.registration = Some(Registration {
            poller,
            token,
            readable: false,
            writable: false,
            queued: false,
            late: 0,
        });
        // Whatever is there already is an edge to a poller that is new.
        if !socket.poll().is_empty() {
            self.edge(id, true, true);
        }
        Ok(())
    }

    pub(super) fn register_listener(&mut self, id: u64, poller: usize, token: usize) {
        if let Some(listening) = self.listeners.get_mut(&id) {
            listening.registration = Some((poller, token));
            if !listening.waiting.is_empty() {
                self.edge_listener(id);
            }
        }
    }
}
