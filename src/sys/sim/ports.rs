//! Which addresses and ports a socket gets.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::internet::Internet;
use super::socket::Socket;

/// How long a port is kept from others after a connection that this end has ended first (Linux, `TCP_TIMEWAIT_LEN`).
const TIME_WAIT: Duration = Duration::from_secs(60);

/// The addresses of a connection: host, local and remote.
pub(super) type Addresses = (IpAddr, SocketAddr, SocketAddr);

/// Connections that are over and keep their addresses for a while.
#[derive(Debug, Default)]
pub(super) struct TimeWaits {
    /// By addresses: until when, and whether a listener had made it.
    by_addresses: BTreeMap<Addresses, (Duration, bool)>,
    /// In the order in which they end.
    ends: VecDeque<(Duration, Addresses)>,
}

impl TimeWaits {
    pub(super) fn add(&mut self, now: Duration, addresses: Addresses, accepted: bool) {
        let until = now + TIME_WAIT;
        self.by_addresses.insert(addresses, (until, accepted));
        self.ends.push_back((until, addresses));
    }

    fn forget_ended(&mut self, now: Duration) {
        while let Some((until, addresses)) = self.ends.front().copied().filter(|it| it.0 <= now) {
            self.ends.pop_front();
            if self
                .by_addresses
                .get(&addresses)
                .is_some_and(|it| it.0 == until)
            {
                self.by_addresses.remove(&addresses);
            }
        }
    }

    /// Whether one of a host's ports is kept; and whether that was a connection that had dialled.
    fn on_port(&self, host: IpAddr, port: u16) -> impl Iterator<Item = bool> {
        let of_port = move |((there, local, _), (_, accepted)): (&Addresses, &(Duration, bool))| {
            (*there == host && local.port() == port).then_some(!*accepted)
        };
        self.by_addresses.iter().filter_map(of_port)
    }
}

/// Ports that the system gives out by itself (Linux, `ip_local_port_range`).
const FIRST_PORT: u16 = 32_768;
const LAST_PORT: u16 = 60_999;

impl Internet {
    /// Whether an address may be bound on a host.
    pub(super) fn check_local(&self, host: IpAddr, ip: IpAddr) -> io::Result<()> {
        let is_own = ip == host || ip.is_loopback();
        if is_own || (ip.is_unspecified() && ip.is_ipv4() == host.is_ipv4()) {
            Ok(())
        } else {
            Err(io::ErrorKind::AddrNotAvailable.into())
        }
    }

    /// Whether no listener may have this port of the host, since somebody has dialled from it. Those whom an earlier
    /// listener has accepted do not matter: all listeners set SO_REUSEADDR (socket(7)).
    pub(super) fn is_connected_from(&self, host: IpAddr, port: u16) -> bool {
        let of_port = |socket: &Socket| socket.host == host && socket.local.port() == port;
        let mut sockets = self.sockets.values();
        sockets.any(|socket| of_port(socket) && !socket.accepted && !socket.is_over())
            || self
                .time_waits
                .on_port(host, port)
                .any(|connected| connected)
    }

    /// Whether nobody may choose to dial from this port of the host: it is somebody's, or was a moment ago.
    pub(super) fn is_taken(&self, host: IpAddr, port: u16) -> bool {
        let of_port = |socket: &Socket| socket.host == host && socket.local.port() == port;
        self.hosts
            .get(&host)
            .is_some_and(|it| it.ports.contains_key(&port))
            || self
                .sockets
                .values()
                .any(|socket| of_port(socket) && !socket.is_over())
            || self.time_waits.on_port(host, port).next().is_some()
    }

    /// Forgets for how long ports were kept, where that is over.
    pub(super) fn end_time_waits(&mut self) {
        self.time_waits.forget_ended(self.now);
    }

    /// The next port that nobody has; for a dial, that nobody has with this other end.
    pub(super) fn free_port(
        &mut self,
        host: IpAddr,
        connect: Option<(IpAddr, SocketAddr)>,
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
            let taken = match connect {
                Some((ip, remote)) => {
                    let key = (host, SocketAddr::new(ip, port), remote);
                    self.by_addresses.contains_key(&key)
                        || self.time_waits.by_addresses.contains_key(&key)
                }
                None => self.is_connected_from(host, port),
            };
            if taken || self.hosts[&host].ports.contains_key(&port) {
                continue;
            }
            if let Some(there) = self.hosts.get_mut(&host) {
                there.next_port = port;
            }
            return Ok(port);
        }
        // As bind(2) and connect(2) have it.
        Err(match connect {
            Some(_) => io::ErrorKind::AddrNotAvailable.into(),
            None => io::ErrorKind::AddrInUse.into(),
        })
    }
}
