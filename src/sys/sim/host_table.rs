//! Hosts, and the addresses and ports in use on them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use super::clock::HostClock;
use super::event::SocketId;
use super::selector::Selector;
use super::socket::{Socket, SocketTable};

/// Time for which the end that closed a connection first keeps its port (Linux,
/// `TCP_TIMEWAIT_LEN`).
const TIME_WAIT: Duration = Duration::from_secs(60);

/// Range of the ports that the system chooses from (Linux,
/// `ip_local_port_range`).
const FIRST_PORT: u16 = 32_768;
const LAST_PORT: u16 = 60_999;

/// The addresses of a connection: host, local and remote.
pub(super) type Addresses = (IpAddr, SocketAddr, SocketAddr);

/// All hosts of a world. A host has one address.
#[derive(Debug, Default)]
pub(super) struct HostTable {
    hosts: BTreeMap<IpAddr, Host>,
    sockets: BTreeMap<Addresses, SocketId>,
    /// The sockets of each host. Worlds have thousands of hosts, and no call looks
    /// at all of their sockets.
    by_host: BTreeSet<(IpAddr, SocketId)>,
    udp_by_host: BTreeSet<(IpAddr, SocketId)>,
    time_waits: TimeWaits,
}

#[derive(Debug, Default)]
struct Host {
    /// The host has lost its power and sends nothing.
    is_down: bool,
    clock: HostClock,
    selector: Selector,
    next_port: u16,
    listeners: BTreeMap<u16, Vec<SocketId>>,
}

/// Connections that have ended and keep their addresses for a while.
#[derive(Debug, Default)]
struct TimeWaits {
    /// End of the time, and whether a listener had accepted the connection.
    by_addresses: BTreeMap<Addresses, (Duration, bool)>,
    /// The same connections, in the order in which their time ends.
    ends: VecDeque<(Duration, Addresses)>,
}

impl HostTable {
    /// Adds a host, unless it exists. Chosen ports are after `port`.
    pub(super) fn add(&mut self, ip: IpAddr, port: u16) {
        self.hosts.entry(ip).or_insert_with(|| Host {
            next_port: port,
            ..Host::default()
        });
    }

    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        self.hosts.contains_key(&ip)
    }

    pub(super) fn is_up(&self, ip: IpAddr) -> bool {
        self.hosts.get(&ip).is_some_and(|host| !host.is_down)
    }

    pub(super) fn power_off(&mut self, ip: IpAddr) {
        if let Some(host) = self.hosts.get_mut(&ip) {
            host.is_down = true;
        }
    }

    /// Restores the power of a host. Returns whether the host was down.
    pub(super) fn power_on(&mut self, ip: IpAddr) -> bool {
        let host = self.hosts.get_mut(&ip);
        host.is_some_and(|host| std::mem::take(&mut host.is_down))
    }

    pub(super) fn selector(&self, ip: IpAddr) -> Selector {
        self.hosts
            .get(&ip)
            .map_or_else(Selector::default, |host| host.selector)
    }

    pub(super) fn set_selector(&mut self, ip: IpAddr, selector: Selector) {
        if let Some(host) = self.hosts.get_mut(&ip) {
            host.selector = selector;
        }
    }

    pub(super) fn clock(&self, ip: IpAddr) -> HostClock {
        self.hosts
            .get(&ip)
            .map_or_else(HostClock::default, |host| host.clock)
    }

    /// Sets the rate of a host's clock, in millionths.
    pub(super) fn set_clock_rate(&mut self, ip: IpAddr, now: Duration, rate: u64) {
        if let Some(host) = self.hosts.get_mut(&ip) {
            host.clock.set_rate(now, rate);
        }
    }

    /// Returns the sockets that listen on a port.
    pub(super) fn listeners_on(&self, host: IpAddr, port: u16) -> &[SocketId] {
        let host = self.hosts.get(&host);
        let listeners = host.and_then(|host| host.listeners.get(&port));
        listeners.map_or(&[], Vec::as_slice)
    }

    pub(super) fn add_listener(&mut self, host: IpAddr, port: u16, id: SocketId) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.listeners.entry(port).or_default().push(id);
        }
    }

    pub(super) fn remove_listener(&mut self, host: IpAddr, port: u16, id: SocketId) {
        let Some(host) = self.hosts.get_mut(&host) else {
            return;
        };
        if let Some(ids) = host.listeners.get_mut(&port) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                host.listeners.remove(&port);
            }
        }
    }

    pub(super) fn socket_between(&self, addresses: Addresses) -> Option<SocketId> {
        self.sockets.get(&addresses).copied()
    }

    /// Returns the sockets of a host, in the order of their ids.
    pub(super) fn sockets_of(&self, host: IpAddr) -> impl Iterator<Item = SocketId> + '_ {
        of_host(&self.by_host, host)
    }

    pub(super) fn udp_sockets_of(&self, host: IpAddr) -> impl Iterator<Item = SocketId> + '_ {
        of_host(&self.udp_by_host, host)
    }

    pub(super) fn add_udp(&mut self, host: IpAddr, id: SocketId) {
        self.udp_by_host.insert((host, id));
    }

    pub(super) fn remove_udp(&mut self, host: IpAddr, id: SocketId) {
        self.udp_by_host.remove(&(host, id));
    }

    pub(super) fn add_socket(&mut self, addresses: Addresses, id: SocketId) {
        self.by_host.insert((addresses.0, id));
        self.sockets.insert(addresses, id);
    }

    pub(super) fn remove_socket(&mut self, addresses: Addresses, id: SocketId) {
        self.by_host.remove(&(addresses.0, id));
        if self.socket_between(addresses) == Some(id) {
            self.sockets.remove(&addresses);
        }
    }

    /// Reserves the addresses of a closed connection for a while.
    pub(super) fn add_time_wait(&mut self, now: Duration, addresses: Addresses, accepted: bool) {
        self.time_waits.add(now, addresses, accepted);
    }

    pub(super) fn end_time_waits(&mut self, now: Duration) {
        self.time_waits.remove_ended(now);
    }

    /// Returns whether no listener may bind this port, because an outbound
    /// connection uses it. Inbound connections of an earlier listener do not
    /// matter, because each listener sets SO_REUSEADDR (socket(7)).
    pub(super) fn is_used_outbound(&self, host: IpAddr, port: u16, sockets: &SocketTable) -> bool {
        let is_outbound = |socket: &Socket| !socket.accepted && uses_port(socket, host, port);
        let mut time_waits = self.time_waits.on_port(host, port);
        let mut of_host = self.sockets_of(host).filter_map(|id| sockets.get(&id));
        of_host.any(is_outbound) || time_waits.any(|is_outbound| is_outbound)
    }

    /// Returns whether a connection may not choose this port as its source,
    /// because it is in use or was so a moment ago.
    pub(super) fn is_taken(&self, host: IpAddr, port: u16, sockets: &SocketTable) -> bool {
        let mut of_host = self.sockets_of(host).filter_map(|id| sockets.get(&id));
        !self.listeners_on(host, port).is_empty()
            || of_host.any(|it| uses_port(it, host, port))
            || self.time_waits.on_port(host, port).next().is_some()
    }

    /// Chooses a free port. For an outbound connection the port must be free
    /// only together with the other end.
    pub(super) fn choose_port(
        &mut self,
        host: IpAddr,
        connect: Option<(IpAddr, SocketAddr)>,
        sockets: &SocketTable,
    ) -> io::Result<u16> {
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
            let is_taken = match connect {
                Some((ip, remote)) => {
                    let addresses = (host, SocketAddr::new(ip, port), remote);
                    self.sockets.contains_key(&addresses) || self.time_waits.contains(&addresses)
                }
                None => self.is_used_outbound(host, port, sockets),
            };
            if is_taken || !self.listeners_on(host, port).is_empty() {
                continue;
            }
            if let Some(there) = self.hosts.get_mut(&host) {
                there.next_port = port;
            }
            return Ok(port);
        }
        // As documented in bind(2) and connect(2).
        Err(match connect {
            Some(_) => io::ErrorKind::AddrNotAvailable.into(),
            None => io::ErrorKind::AddrInUse.into(),
        })
    }
}

impl TimeWaits {
    fn add(&mut self, now: Duration, addresses: Addresses, accepted: bool) {
        let until = now + TIME_WAIT;
        self.by_addresses.insert(addresses, (until, accepted));
        self.ends.push_back((until, addresses));
    }

    fn contains(&self, addresses: &Addresses) -> bool {
        self.by_addresses.contains_key(addresses)
    }

    fn remove_ended(&mut self, now: Duration) {
        while let Some((until, addresses)) = self.ends.front().copied().filter(|it| it.0 <= now) {
            self.ends.pop_front();
            let kept = self.by_addresses.get(&addresses);
            if kept.is_some_and(|it| it.0 == until) {
                self.by_addresses.remove(&addresses);
            }
        }
    }

    /// Returns, for each connection that keeps a port, whether it was outbound.
    fn on_port(&self, host: IpAddr, port: u16) -> impl Iterator<Item = bool> {
        let lowest = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into();
        let from_host = self.by_addresses.range((host, lowest, lowest)..);
        from_host
            .take_while(move |((there, _, _), _)| *there == host)
            .filter(move |((_, local, _), _)| local.port() == port)
            .map(|(_, (_, accepted))| !*accepted)
    }
}

fn of_host(
    sockets: &BTreeSet<(IpAddr, SocketId)>,
    host: IpAddr,
) -> impl Iterator<Item = SocketId> + '_ {
    let range = sockets.range((host, SocketId::MIN)..=(host, SocketId::MAX));
    range.map(|(_, id)| *id)
}

fn uses_port(socket: &Socket, host: IpAddr, port: u16) -> bool {
    socket.host == host && socket.local.port() == port && !socket.is_over()
}

/// Checks that a socket of a host may bind an address.
pub(super) fn check_local(host: IpAddr, ip: IpAddr) -> io::Result<()> {
    let is_own = ip == host || ip.is_loopback();
    if is_own || (ip.is_unspecified() && ip.is_ipv4() == host.is_ipv4()) {
        Ok(())
    } else {
        Err(io::ErrorKind::AddrNotAvailable.into())
    }
}

/// Returns the host that an address identifies for a socket of `from`.
pub(super) fn host_of(from: IpAddr, ip: IpAddr) -> IpAddr {
    if ip.is_loopback() || ip.is_unspecified() {
        from
    } else {
        ip
    }
}
