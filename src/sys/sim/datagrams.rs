//! Datagrams between UDP sockets.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::event::{Event, PollerId, SocketId, UdpEvent};
use super::host_table::{check_local, host_of};
use super::internet::Internet;
use super::trace::{Actor, digest, mix};
use super::udp_socket::{KernelUdp, Received};
use crate::config::UdpOptions;

/// Range of the ports that the system chooses from (Linux,
/// `ip_local_port_range`).
const FIRST_PORT: u16 = 32_768;
const LAST_PORT: u16 = 60_999;

/// Maximum time by which a reordered datagram comes later.
const REORDER_MAX: Duration = Duration::from_millis(50);

impl Internet {
    pub(super) fn bind_udp(
        &mut self,
        poller: PollerId,
        addr: SocketAddr,
        options: &UdpOptions,
    ) -> io::Result<SocketId> {
        self.check_shortage(poller)?;
        let host = self.pollers[poller].host;
        check_local(host, addr.ip())?;
        let port = match addr.port() {
            0 => self.choose_udp_port(host)?,
            port => port,
        };
        let mut socket = KernelUdp::new(host, SocketAddr::new(addr.ip(), port), poller);
        socket.shares_port = options.reuse_addr || options.reuse_port;
        let conflicts = |other: &KernelUdp| {
            let (a, b) = (other.local.ip(), addr.ip());
            let overlap = a == b || a.is_unspecified() || b.is_unspecified();
            let is_same = other.local.port() == port && overlap;
            is_same && !(other.shares_port && socket.shares_port)
        };
        if self.udp_sockets_of(host).any(conflicts) {
            return Err(ErrorKind::AddrInUse.into());
        }
        if self.random.chance(self.faults.small_buffers) {
            socket.receive_capacity = 1 + self.random.below(4096) as usize;
            socket.send_capacity = 1 + self.random.below(4096) as usize;
        }
        let size = |own: usize, set: Option<usize>| set.unwrap_or(own);
        socket.receive_capacity = size(socket.receive_capacity, options.receive_buffer_bytes);
        socket.send_capacity = size(socket.send_capacity, options.send_buffer_bytes);
        let id = self.take_id();
        self.udp.insert(id, socket);
        self.hosts.add_udp(host, id);
        self.note(Actor::Network, "bind udp", id, u64::from(port));
        Ok(id)
    }

    fn udp_sockets_of(&self, host: IpAddr) -> impl Iterator<Item = &KernelUdp> {
        let of_host = self.hosts.udp_sockets_of(host);
        of_host.filter_map(|id| self.udp.get(&id))
    }

    /// Chooses a free port, after a random one.
    fn choose_udp_port(&mut self, host: IpAddr) -> io::Result<u16> {
        let ports = LAST_PORT - FIRST_PORT + 1;
        let first = self.random.below(ports.into()) as u16;
        let is_free = |port: &u16| {
            let mut sockets = self.udp_sockets_of(host);
            !sockets.any(|it| it.local.port() == *port)
        };
        let mut after = (0..ports).map(|step| FIRST_PORT + (first + step) % ports);
        let port = after.find(is_free);
        port.ok_or_else(|| ErrorKind::AddrInUse.into())
    }

    pub(super) fn udp_addr(&self, id: SocketId) -> io::Result<SocketAddr> {
        let socket = self.udp.get(&id);
        let addr = socket.map(|socket| socket.local);
        addr.ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// Returns the socket of a call, unless the call is interrupted.
    fn called_udp(&mut self, id: SocketId) -> io::Result<&mut KernelUdp> {
        if self.random.chance(self.faults.interrupted) {
            self.counts.interrupted += 1;
            return Err(ErrorKind::Interrupted.into());
        }
        let socket = self.udp.get_mut(&id);
        socket.ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// Draws whether a call that could succeed is denied.
    fn denies_udp_call(&mut self) -> bool {
        let is_denied = self.random.chance(self.faults.would_block);
        self.counts.would_blocks += u64::from(is_denied);
        is_denied
    }

    pub(super) fn recv_from(
        &mut self,
        id: SocketId,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr)> {
        let socket = self.called_udp(id)?;
        if let Some(error) = socket.error.take() {
            return Err(error.into());
        }
        if socket.visible() == 0 {
            return Err(self.udp_would_block(id));
        }
        if self.denies_udp_call() {
            self.hide_datagrams(id);
            return Err(self.udp_would_block(id));
        }
        let Some(socket) = self.udp.get_mut(&id) else {
            return Err(ErrorKind::NotConnected.into());
        };
        let Some(Received { from, bytes }) = socket.take_received() else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        // A datagram that fills the buffer is too long, and is not delivered.
        if bytes.len() < buffer.len() {
            socket.undelivered.push_back((from, digest(&bytes)));
        }
        let poller = socket.poller;
        self.note(Actor::Node(poller), "recv_from", id, len as u64);
        Ok((len, from))
    }

    pub(super) fn send_to(
        &mut self,
        id: SocketId,
        datagram: &[u8],
        addr: SocketAddr,
    ) -> io::Result<usize> {
        let socket = self.called_udp(id)?;
        if let Some(error) = socket.error.take() {
            return Err(error.into());
        }
        let (has_room, host, local, poller) =
            (socket.has_room(), socket.host, socket.local, socket.poller);
        if !has_room {
            self.counts.full_buffers += 1;
            return Err(self.udp_would_block(id));
        }
        if self.denies_udp_call() {
            self.hide_udp_room(id);
            return Err(self.udp_would_block(id));
        }
        if !is_unicast(addr.ip()) {
            return Err(ErrorKind::Unsupported.into());
        }
        self.note(Actor::Node(poller), "send_to", id, datagram.len() as u64);
        let to_host = host_of(host, addr.ip());
        let from_ip = match local.ip() {
            ip if !ip.is_unspecified() => ip,
            _ if addr.ip().is_loopback() => addr.ip(),
            _ => host,
        };
        let now = self.now();
        let leaves = self.links.occupy((host, to_host), datagram.len(), now);
        if let Some(socket) = self.udp.get_mut(&id).filter(|_| !leaves.is_zero()) {
            let bytes = datagram.len();
            socket.unsent += bytes;
            self.schedule_after(leaves, Event::Udp(UdpEvent::Left { socket: id, bytes }));
        }
        for _ in 0..self.draw_copies() {
            let mut after = leaves + self.travel((host, to_host), 0, now);
            if self.random.chance(self.faults.reordered_datagram) {
                self.counts.reordered_datagrams += 1;
                let most = REORDER_MAX.as_nanos() as u64;
                after += Duration::from_nanos(self.random.below(most));
            }
            let event = UdpEvent::Datagram {
                sender: id,
                hosts: (host, to_host),
                from: SocketAddr::new(from_ip, local.port()),
                to: addr,
                bytes: datagram.to_vec(),
            };
            self.schedule_after(after, Event::Udp(event));
        }
        Ok(datagram.len())
    }

    /// Draws how often a datagram arrives.
    fn draw_copies(&mut self) -> u32 {
        if self.random.chance(self.faults.lost_datagram) {
            self.counts.lost_datagrams += 1;
            return 0;
        }
        let is_duplicated = self.random.chance(self.faults.duplicated_datagram);
        self.counts.duplicated_datagrams += u64::from(is_duplicated);
        1 + u32::from(is_duplicated)
    }

    pub(super) fn process_udp(&mut self, event: UdpEvent) {
        match event {
            UdpEvent::Datagram {
                sender,
                hosts,
                from,
                to,
                bytes,
            } => self.datagram_arrived(sender, hosts, to, Received { from, bytes }),
            UdpEvent::Left { socket, bytes } => self.datagram_left(socket, bytes),
            UdpEvent::PortUnreachable { to } => self.port_unreachable(to),
            UdpEvent::ShowReceived { socket } => self.show_datagrams(socket),
            UdpEvent::ShowRoom { socket } => self.show_udp_room(socket),
            UdpEvent::ReportLate { socket } => self.report_udp_late(socket),
        }
    }

    /// Handles a datagram at the end of its way. A partition, or a machine that
    /// is down, loses it.
    fn datagram_arrived(
        &mut self,
        sender: SocketId,
        (here, there): (IpAddr, IpAddr),
        to: SocketAddr,
        datagram: Received,
    ) {
        if !self.hosts.is_up(there) || self.links.is_cut(here, there) {
            self.counts.cut_datagrams += 1;
            return;
        }
        let to = SocketAddr::new(
            if to.ip().is_unspecified() {
                there
            } else {
                to.ip()
            },
            to.port(),
        );
        let is_bound = |socket: &KernelUdp| socket.is_bound_to(there, to);
        let of_host = self.hosts.udp_sockets_of(there);
        let bound: Vec<SocketId> = of_host
            .filter(|id| self.udp.get(id).is_some_and(is_bound))
            .collect();
        // Linux chooses among the sockets of a port by the source
        // (SO_REUSEPORT, socket(7)).
        let source = mix(
            u64::from(datagram.from.port()),
            digest(&ip_bytes(datagram.from.ip())),
        );
        let chosen = source.checked_rem(bound.len() as u64);
        let Some(id) = chosen.and_then(|index| bound.get(index as usize).copied()) else {
            self.counts.unreachable_ports += 1;
            if self.random.chance(self.faults.port_unreachable) {
                let after = self.travel((there, here), 0, self.now());
                let event = UdpEvent::PortUnreachable { to: sender };
                self.schedule_after(after, Event::Udp(event));
            }
            return;
        };
        let len = datagram.bytes.len() as u64;
        let Some(socket) = self.udp.get_mut(&id) else {
            return;
        };
        if !socket.arrive(datagram) {
            self.counts.overflowed_datagrams += 1;
            return;
        }
        self.counts.datagrams += 1;
        self.note(Actor::Network, "datagram", id, len);
        self.edge_udp(id);
    }

    fn datagram_left(&mut self, id: SocketId, bytes: usize) {
        let Some(socket) = self.udp.get_mut(&id) else {
            return;
        };
        socket.unsent -= bytes;
        // Linux reports room when half of the buffer is free
        // (`sock_def_write_space`).
        if 2 * socket.unsent <= socket.send_capacity {
            self.edge_udp(id);
        }
    }

    /// Handles the answer that no program receives at an address.
    fn port_unreachable(&mut self, id: SocketId) {
        if let Some(socket) = self.udp.get_mut(&id) {
            socket.error = Some(ErrorKind::ConnectionReset);
            self.edge_udp(id);
        }
    }

    /// Closes a socket. Received datagrams are lost. Sent datagrams arrive.
    pub(super) fn close_udp(&mut self, id: SocketId) {
        self.unregister_udp(id);
        if let Some(socket) = self.udp.remove(&id) {
            self.hosts.remove_udp(socket.host, id);
        }
    }

    /// Closes the sockets of a node that has crashed.
    pub(super) fn close_udp_of(&mut self, poller: PollerId) {
        let of_poller = self.udp.iter().filter(|(_, it)| it.poller == poller);
        let ids: Vec<SocketId> = of_poller.map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.close_udp(id));
    }
}

/// Returns whether an address belongs to one host.
fn is_unicast(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !ip.is_multicast() && !is_broadcast
}

fn ip_bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}
