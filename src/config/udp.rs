//! Options of a UDP socket.

use std::net::Ipv4Addr;

use super::check::{KIB, MIB, check, check_nonzero};
use crate::error::ConfigError;

/// Maximum length of a datagram in bytes: the length field of UDP has 16 bits
/// (RFC 768).
const DATAGRAM_MAX: usize = 65_535;

/// Options of a UDP socket, for [`Net::bind_udp`](crate::Net::bind_udp).
///
/// ```
/// use peerloop::UdpOptions;
///
/// // A socket that shares its port with other programs of the host, for
/// // discovery with multicast.
/// let options = UdpOptions {
///     reuse_addr: true,
///     max_datagram_len: 512,
///     ..Default::default()
/// };
/// assert!(options.validate().is_ok());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpOptions {
    /// Maximum length in bytes of a received datagram, from 1 to 65,535. A
    /// longer datagram is dropped and counted in
    /// [`UdpTraffic::too_long`](crate::UdpTraffic::too_long). No part of it is
    /// delivered.
    ///
    /// The loop's read buffer grows to one byte more, if
    /// [`read_buffer_bytes`](crate::Config::read_buffer_bytes) is less.
    ///
    /// Default: 65,535, the maximum of UDP (RFC 768), because the socket needs
    /// no memory for it.
    pub max_datagram_len: usize,
    /// Size in bytes of the ring of queued datagrams, from 1 KiB to 64 MiB. It
    /// is allocated when the socket is bound. A datagram takes 25 bytes more
    /// than its length.
    ///
    /// Default: 64 KiB, which holds the longest datagram of IPv4, and more than
    /// 700 datagrams of 64 bytes.
    pub send_ring_bytes: usize,
    /// Whether to set SO_BROADCAST. If false, the system refuses datagrams to
    /// broadcast addresses.
    ///
    /// Default: false.
    pub allow_broadcast: bool,
    /// Whether to set SO_REUSEADDR, so that several programs that all set it
    /// can bind the same port. Each of them receives each multicast datagram,
    /// and one of them a unicast datagram. On Windows another program can then
    /// take the port. macOS and the BSDs share the port of an unspecified
    /// address only with `reuse_port` (FreeBSD, setsockopt(2)).
    ///
    /// Default: false.
    pub reuse_addr: bool,
    /// Whether to set SO_REUSEPORT (Unix). On Linux the unicast datagrams are
    /// distributed over the sockets of the port by their source.
    ///
    /// Default: false.
    pub reuse_port: bool,
    /// Whether an IPv6 socket sends and receives IPv6 datagrams only
    /// (IPV6_V6ONLY). If false, a socket on `[::]` also uses IPv4, and IPv4
    /// addresses are reported as such.
    ///
    /// Default: false.
    pub v6_only: bool,
    /// Whether multicast datagrams that are sent also reach the members of the
    /// group on this host (IP_MULTICAST_LOOP).
    ///
    /// Default: true.
    pub multicast_loop: bool,
    /// Number of links that a multicast datagram may pass (IP_MULTICAST_TTL,
    /// IPV6_MULTICAST_HOPS). Zero keeps it on this host.
    ///
    /// Default: 1, which keeps it on the local link (RFC 1112, 6.1).
    pub multicast_hops: u8,
    /// Interface on which multicast datagrams are sent (IP_MULTICAST_IF,
    /// IPV6_MULTICAST_IF). A socket on an IPv4 address needs an address or
    /// `Any` here, and a socket on an IPv6 address an index or `Any`. The scope
    /// id of an IPv6 destination takes precedence.
    ///
    /// Default: [`MulticastInterface::Any`].
    pub multicast_interface: MulticastInterface,
    /// Number of links that a unicast datagram may pass (IP_TTL,
    /// IPV6_UNICAST_HOPS). Not zero.
    ///
    /// Default: `None`, which leaves it to the operating system.
    pub hops: Option<u8>,
    /// Value of SO_SNDBUF, in bytes. Not zero.
    ///
    /// Default: `None`, which leaves the size to the operating system.
    pub send_buffer_bytes: Option<usize>,
    /// Value of SO_RCVBUF, in bytes. Not zero. The kernel drops what arrives
    /// while this buffer is full.
    ///
    /// Default: `None`, which leaves the size to the operating system.
    pub receive_buffer_bytes: Option<usize>,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self {
            max_datagram_len: DATAGRAM_MAX,
            send_ring_bytes: 64 * KIB,
            allow_broadcast: false,
            reuse_addr: false,
            reuse_port: false,
            v6_only: false,
            multicast_loop: true,
            multicast_hops: 1,
            multicast_interface: MulticastInterface::Any,
            hops: None,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
        }
    }
}

impl UdpOptions {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// - [`ConfigError`] with the name of the first invalid field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (send, receive) = (self.send_buffer_bytes, self.receive_buffer_bytes);
        check_nonzero([
            ("max_datagram_len", self.max_datagram_len == 0),
            ("hops", self.hops == Some(0)),
            ("send_buffer_bytes", send == Some(0)),
            ("receive_buffer_bytes", receive == Some(0)),
        ])?;
        let fits = self.max_datagram_len <= DATAGRAM_MAX;
        check(fits, "max_datagram_len", "is above 65,535")?;
        let size = self.send_ring_bytes;
        check(size >= KIB, "send_ring_bytes", "is below 1 KiB")?;
        check(size <= 64 * MIB, "send_ring_bytes", "is above 64 MiB")
    }
}

/// An interface of this host, for multicast.
///
/// The standard library does not list interfaces. On Linux, the file
/// `/sys/class/net/NAME/ifindex` contains the index of one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MulticastInterface {
    /// The system chooses, usually the interface of the default route. On a
    /// host without a default route this is an error.
    #[default]
    Any,
    /// The interface with this index. It is the scope id of link-local
    /// addresses. For IPv4 it can join a group, and cannot be the interface of
    /// [`UdpOptions::multicast_interface`].
    Index(u32),
    /// The interface with this address. For IPv4 groups only. Tests on one host
    /// can use `Ipv4Addr::LOCALHOST`.
    Addr(Ipv4Addr),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udp_options_out_of_range_are_named() {
        let problem = |change: fn(&mut UdpOptions)| {
            let mut options = UdpOptions::default();
            change(&mut options);
            options.validate().err().map(|error| error.field)
        };
        assert_eq!(problem(|_| {}), None);
        assert_eq!(
            problem(|it| it.max_datagram_len = 0),
            Some("max_datagram_len")
        );
        assert_eq!(
            problem(|it| it.max_datagram_len = 65_536),
            Some("max_datagram_len")
        );
        assert_eq!(
            problem(|it| it.send_ring_bytes = 1023),
            Some("send_ring_bytes")
        );
        assert_eq!(
            problem(|it| it.send_ring_bytes = usize::MAX),
            Some("send_ring_bytes")
        );
        assert_eq!(problem(|it| it.hops = Some(0)), Some("hops"));
        assert_eq!(
            problem(|it| it.receive_buffer_bytes = Some(0)),
            Some("receive_buffer_bytes")
        );
    }
}
