//! The calls of a handler on UDP sockets.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs};

use super::Net;
use super::udp_table::{SendBudget, UdpEntry};
use crate::addr::to_canonical_target;
use crate::config::{MulticastInterface, UdpOptions};
use crate::error::SendToError;
use crate::id::{ShardId, UdpId};
use crate::traffic::UdpTraffic;

/// Maximum length of a datagram over IPv4: the total length of a packet has 16
/// bits (RFC 791, 3.1), less 20 bytes of its header and 8 of UDP.
const V4_MAX: usize = 65_535 - 20 - 8;

/// Maximum length of a datagram over IPv6: the payload length of a packet has 16
/// bits (RFC 8200, 3), less 8 bytes of the header of UDP.
const V6_MAX: usize = 65_535 - 8;

impl Net {
    /// Binds a UDP socket to `addr`. With port 0 the system chooses the port;
    /// see [`Net::udp_addr`].
    ///
    /// Datagrams arrive in
    /// [`Handler::on_datagram`](crate::Handler::on_datagram), and
    /// [`Net::send_to`] sends them. UDP loses, duplicates and reorders
    /// datagrams. Use it for discovery, hole punching and the state of games,
    /// and connections for everything else.
    ///
    /// If `addr` is a host name, it is resolved on this thread, which may block
    /// the loop. If it has several addresses, the first one that works is used.
    /// The socket belongs to this [shard](crate::shards). It stays open until
    /// [`Net::close_udp`], or until the end of a [shutdown](Net::shutdown).
    ///
    /// # Errors
    ///
    /// - The error of `socket`, `setsockopt` or `bind`, such as `AddrInUse`;
    /// - `InvalidInput` if `addr` has no address, if an option is invalid, with
    ///   a [`ConfigError`](crate::error::ConfigError) inside, or if
    ///   `multicast_interface` does not suit the family of `addr`; see there;
    /// - the error of the resolver;
    /// - `Other` after [`Net::shutdown`], or if the loop has given out 2^32 ids;
    /// - `Unsupported` for `reuse_port` on systems without SO_REUSEPORT.
    ///
    /// # Examples
    ///
    /// Sends each datagram back. The guide [`datagrams`](crate::guide::datagrams)
    /// finds the nodes of a local network by multicast, and the recipe [hole
    /// punching](crate::guide::recipes#hole-punching) opens a way between peers
    /// behind NATs.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use peerloop::{ConnId, Handler, Net, UdpId, UdpOptions};
    ///
    /// struct Echo;
    ///
    /// impl Handler for Echo {
    ///     fn on_start(&mut self, net: &mut Net) {
    ///         match net.bind_udp("127.0.0.1:0", UdpOptions::default()) {
    ///             Ok(udp) => println!("bound to {:?}", net.udp_addr(udp)),
    ///             Err(error) => eprintln!("no UDP: {error}"),
    ///         }
    ///     }
    ///
    ///     fn on_datagram(&mut self, net: &mut Net, udp: UdpId, from: SocketAddr, datagram: &[u8]) {
    ///         let _ = net.send_to(udp, datagram, from); // May be lost as well.
    ///     }
    /// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    /// # fn main() -> std::io::Result<()> {
    /// #     let mut node = peerloop::Node::new(Default::default(), Echo)?;
    /// #     let _ = node.turn(Some(std::time::Duration::ZERO))?;
    /// #     Ok(())
    /// # }
    /// ```
    pub fn bind_udp(&mut self, addr: impl ToSocketAddrs, options: UdpOptions) -> io::Result<UdpId> {
        if self.stopping.is_some() {
            return Err(io::Error::other("the node is shutting down"));
        }
        options.validate()?;
        let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no address to bind");
        for addr in addr.to_socket_addrs()? {
            match self.bind_one_udp(addr, &options) {
                Ok(udp) => return Ok(udp),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn bind_one_udp(&mut self, addr: SocketAddr, options: &UdpOptions) -> io::Result<UdpId> {
        let shard = self.router.as_ref();
        let shard = shard.map_or(ShardId::FIRST, |router| router.own());
        let udp = self.udp.next_id(shard);
        let udp = udp.ok_or_else(|| io::Error::other("the loop has given out all UDP ids"))?;
        let mut socket = self.registrar.bind_udp(addr, options)?;
        let addr = socket.local_addr()?;
        self.registrar.add_udp(&mut socket, udp.token())?;
        self.udp.insert(UdpEntry::new(udp, socket, addr, options));
        log::info!(target: "peerloop", "{}: UDP on {addr}", self.config.name);
        Ok(udp)
    }

    /// Returns the bound address of a UDP socket, or `None` if the id is stale.
    /// For port 0 it contains the port that the system chose. It is not
    /// canonicalized.
    pub fn udp_addr(&self, udp: UdpId) -> Option<SocketAddr> {
        self.udp.get(udp).map(|entry| entry.addr)
    }

    /// Returns the counters of a UDP socket, or `None` if the id is stale. The
    /// counters of all sockets are in [`Metrics::udp`](crate::Metrics::udp).
    pub fn udp_traffic(&self, udp: UdpId) -> Option<UdpTraffic> {
        self.udp.get(udp).map(|entry| entry.traffic)
    }

    /// Queues one datagram for `addr`.
    ///
    /// It is copied into the ring of the socket. Queued datagrams are sent at
    /// the end of the turn, up to the
    /// [budget](crate::config::TurnBudget::datagrams) per turn. `Ok` does not
    /// mean that the datagram arrives. A datagram that the system refuses, for
    /// example because it is longer than the system allows or because there is
    /// no route, is counted in
    /// [`UdpTraffic::send_errors`](crate::UdpTraffic::send_errors). Datagrams
    /// that are queued when the node is dropped are lost.
    ///
    /// Datagrams of up to 1,200 bytes pass nearly every network without
    /// fragmentation (RFC 9000, 14).
    ///
    /// # Errors
    ///
    /// After an error the datagram is not queued.
    ///
    /// - [`SendToError::Closed`] if the id is stale, or the socket belongs to
    ///   another [shard](crate::shards);
    /// - [`SendToError::Full`] if the ring has no room.
    ///   [`Handler::on_udp_drain`](crate::Handler::on_udp_drain) follows;
    /// - [`SendToError::TooLarge`] if the datagram is longer than UDP allows, or
    ///   than the ring;
    /// - [`SendToError::InvalidAddress`] if the socket cannot send to `addr`.
    pub fn send_to(
        &mut self,
        udp: UdpId,
        datagram: &[u8],
        addr: SocketAddr,
    ) -> Result<(), SendToError> {
        let entry = self.udp.get_mut(udp).ok_or(SendToError::Closed)?;
        let addr = to_canonical_target(addr);
        let longest = if addr.is_ipv4() { V4_MAX } else { V6_MAX };
        let addr = address_for(entry.addr, entry.v6_only, addr);
        let addr = addr.ok_or(SendToError::InvalidAddress)?;
        if datagram.len() > longest.min(entry.ring.longest()) {
            return Err(SendToError::TooLarge);
        }
        if !entry.ring.push(addr, datagram) {
            entry.traffic.sends_refused += 1;
            entry.refused = entry.refused.max(Some(datagram.len()));
            return Err(SendToError::Full);
        }
        self.udp.schedule_send(udp);
        Ok(())
    }

    /// Joins a multicast group, so that the socket receives what is sent to the
    /// group and to its port.
    ///
    /// On Linux a socket that is bound to an unspecified address receives
    /// datagrams of all groups that any socket of the host has joined
    /// (IP_MULTICAST_ALL, ip(7)).
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use peerloop::config::MulticastInterface;
    /// use peerloop::{ConnId, Handler, Net, UdpOptions};
    ///
    /// struct Discovery;
    ///
    /// impl Handler for Discovery {
    ///     fn on_start(&mut self, net: &mut Net) {
    ///         let group = Ipv4Addr::new(239, 255, 70, 77).into();
    ///         let options = UdpOptions { reuse_addr: true, ..Default::default() };
    ///         let joined = net.bind_udp("0.0.0.0:7100", options).and_then(|udp| {
    ///             net.join_multicast(udp, group, MulticastInterface::Any)
    ///         });
    ///         if let Err(error) = joined {
    ///             eprintln!("no discovery: {error}");
    ///         }
    ///     }
    /// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// - `NotFound` if the id is stale;
    /// - `InvalidInput` if `group` is not a multicast address, or if the
    ///   interface of an IPv6 group is given by address;
    /// - the error of `setsockopt`, such as `AddrInUse` if the socket is a
    ///   member already, or that there is no such interface;
    /// - `Unsupported` in the simulator, and for an IPv4 group and an interface
    ///   by index on systems without `ip_mreqn`.
    pub fn join_multicast(
        &mut self,
        udp: UdpId,
        group: IpAddr,
        interface: MulticastInterface,
    ) -> io::Result<()> {
        self.multicast_socket(udp, group)?
            .socket
            .join(group, interface)
    }

    /// Leaves a multicast group. `interface` is that of
    /// [`Net::join_multicast`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Net::join_multicast`];
    /// - `AddrNotAvailable` if the socket is not a member.
    pub fn leave_multicast(
        &mut self,
        udp: UdpId,
        group: IpAddr,
        interface: MulticastInterface,
    ) -> io::Result<()> {
        self.multicast_socket(udp, group)?
            .socket
            .leave(group, interface)
    }

    fn multicast_socket(&self, udp: UdpId, group: IpAddr) -> io::Result<&UdpEntry> {
        if !group.is_multicast() {
            let problem = "not a multicast address";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let entry = self.udp.get(udp);
        entry.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, SendToError::Closed))
    }

    /// Closes a UDP socket. Queued datagrams are sent first, as far as the
    /// kernel has room. No callback follows for the id. A no-op if the id is
    /// stale.
    pub fn close_udp(&mut self, udp: UdpId) {
        let Some(entry) = self.udp.get_mut(udp) else {
            return;
        };
        let mut budget = SendBudget {
            datagrams: usize::MAX,
            bytes: usize::MAX,
        };
        entry.send_queued(&mut budget);
        while !entry.ring.is_empty() {
            entry.ring.pop();
            entry.traffic.send_errors += 1;
        }
        let Some(mut entry) = self.udp.remove(udp) else {
            return;
        };
        if let Err(error) = self.registrar.remove_udp(&mut entry.socket) {
            log::debug!(target: "peerloop", "{}: deregistering a UDP socket: {error}", self.config.name);
        }
    }
}

/// Returns an address in the form that a socket with this local address uses,
/// or `None` if the socket cannot send to it. An IPv6 socket sends to IPv4
/// addresses in the mapped form (RFC 4291, 2.5.5.2). Linux takes the other form
/// as well, and other systems do not.
fn address_for(own: SocketAddr, v6_only: bool, addr: SocketAddr) -> Option<SocketAddr> {
    let addr = match (own, addr) {
        (SocketAddr::V4(_), SocketAddr::V6(_)) => return None,
        (SocketAddr::V6(own), SocketAddr::V4(to)) => {
            let is_dual = own.ip().is_unspecified() && !v6_only;
            if !is_dual && own.ip().to_ipv4_mapped().is_none() {
                return None;
            }
            SocketAddrV6::new(to.ip().to_ipv6_mapped(), to.port(), 0, 0).into()
        }
        _ => addr,
    };
    (addr.port() != 0).then_some(addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_family_of_the_socket() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let form = |own, v6_only, to| {
            let addr = address_for(parse(own), v6_only, parse(to));
            addr.map(|addr| addr.to_string())
        };
        let mapped = Some("[::ffff:10.0.0.1]:7".to_owned());
        assert_eq!(form("[::]:1", false, "10.0.0.1:7"), mapped);
        assert_eq!(form("[::ffff:10.0.0.2]:1", false, "10.0.0.1:7"), mapped);
        assert_eq!(form("[::]:1", true, "10.0.0.1:7"), None);
        assert_eq!(form("[::1]:1", false, "10.0.0.1:7"), None);
        assert_eq!(form("0.0.0.0:1", false, "[::1]:7"), None);
        let scoped = "[fe80::1%3]:7";
        assert_eq!(form("[::]:1", true, scoped).as_deref(), Some(scoped));
    }
}
