//! Which addresses and ports a socket gets.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::internet::Internet;

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

    /// Whether a dialling socket of the host has this port.
    pub(super) fn is_bound(&self, host: IpAddr, port: u16) -> bool {
        self.sockets.values().any(|socket| {
            socket.host == host
                && socket.local.port() == port
                && !socket.accepted
                && !socket.is_over()
        })
    }

    /// The next port that nobody has; for a dial, that nobody has with this other end.
    pub(super) fn free_port(
        &mut self,
        host: IpAddr,
        dial: Option<(IpAddr, SocketAddr)>,
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
}
