//! UDP sockets of the operating system.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::UdpSocket;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::listener::set_reuse_port;
use crate::config::{MulticastInterface, UdpOptions};
use crate::sys::UdpError;

/// A non-blocking UDP socket.
#[derive(Debug)]
pub(crate) struct OsUdp(pub(super) UdpSocket);

impl OsUdp {
    pub(crate) fn bind(addr: SocketAddr, options: &UdpOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(options.v6_only)?;
        }
        if options.reuse_addr {
            socket.set_reuse_address(true)?;
        }
        if options.reuse_port {
            set_reuse_port(&socket)?;
        }
        if options.allow_broadcast {
            socket.set_broadcast(true)?;
        }
        if let Some(size) = options.send_buffer_bytes {
            socket.set_send_buffer_size(size)?;
        }
        if let Some(size) = options.receive_buffer_bytes {
            socket.set_recv_buffer_size(size)?;
        }
        set_hops(&socket, addr, options)?;
        set_multicast(&socket, addr, options)?;
        socket.bind(&addr.into())?;
        Ok(Self(UdpSocket::from_std(socket.into())))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(crate) fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer)
    }

    pub(crate) fn send_to(&self, datagram: &[u8], addr: SocketAddr) -> io::Result<usize> {
        self.0.send_to(datagram, addr)
    }

    pub(crate) fn join(&self, group: IpAddr, interface: MulticastInterface) -> io::Result<()> {
        let socket = SockRef::from(&self.0);
        match group {
            IpAddr::V6(group) => socket.join_multicast_v6(&group, index_of(interface)?),
            IpAddr::V4(group) => match interface {
                MulticastInterface::Any => socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED),
                MulticastInterface::Addr(addr) => socket.join_multicast_v4(&group, &addr),
                MulticastInterface::Index(index) => by_index::join(&socket, group, index),
            },
        }
    }

    pub(crate) fn leave(&self, group: IpAddr, interface: MulticastInterface) -> io::Result<()> {
        let socket = SockRef::from(&self.0);
        match group {
            IpAddr::V6(group) => socket.leave_multicast_v6(&group, index_of(interface)?),
            IpAddr::V4(group) => match interface {
                MulticastInterface::Any => {
                    socket.leave_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)
                }
                MulticastInterface::Addr(addr) => socket.leave_multicast_v4(&group, &addr),
                MulticastInterface::Index(index) => by_index::leave(&socket, group, index),
            },
        }
    }

    /// Returns the cause of an error of [`OsUdp::recv_from`] or
    /// [`OsUdp::send_to`].
    pub(crate) fn classify(error: &io::Error) -> UdpError {
        use io::ErrorKind;
        match error.kind() {
            ErrorKind::WouldBlock => UdpError::WouldBlock,
            ErrorKind::Interrupted => UdpError::Interrupted,
            _ if is_truncated(error) => UdpError::TooLong,
            ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::PermissionDenied => UdpError::OneDatagram,
            _ if is_expired(error) => UdpError::OneDatagram,
            _ => UdpError::Other,
        }
    }
}

/// Returns whether a receive has cut a datagram off. Winsock returns an error
/// then (WSAEMSGSIZE); other systems return as many bytes as the buffer has.
fn is_truncated(error: &io::Error) -> bool {
    const WSAEMSGSIZE: i32 = 10_040;
    cfg!(windows) && error.raw_os_error() == Some(WSAEMSGSIZE)
}

/// Returns whether a datagram that was sent has passed too many links, which
/// Winsock reports (WSAENETRESET of `recvfrom`). Any router can cause it.
fn is_expired(error: &io::Error) -> bool {
    const WSAENETRESET: i32 = 10_052;
    cfg!(windows) && error.raw_os_error() == Some(WSAENETRESET)
}

fn set_hops(socket: &Socket, addr: SocketAddr, options: &UdpOptions) -> io::Result<()> {
    match options.hops.map(u32::from) {
        Some(hops) if addr.is_ipv4() => socket.set_ttl_v4(hops),
        Some(hops) => socket.set_unicast_hops_v6(hops),
        None => Ok(()),
    }
}

fn set_multicast(socket: &Socket, addr: SocketAddr, options: &UdpOptions) -> io::Result<()> {
    let (hops, is_looped) = (options.multicast_hops.into(), options.multicast_loop);
    if addr.is_ipv6() {
        socket.set_multicast_hops_v6(hops)?;
        socket.set_multicast_loop_v6(is_looped)?;
        return match index_of(options.multicast_interface)? {
            0 => Ok(()),
            index => socket.set_multicast_if_v6(index),
        };
    }
    socket.set_multicast_ttl_v4(hops)?;
    socket.set_multicast_loop_v4(is_looped)?;
    match options.multicast_interface {
        MulticastInterface::Any => Ok(()),
        MulticastInterface::Addr(addr) => socket.set_multicast_if_v4(&addr),
        MulticastInterface::Index(_) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an IPv4 socket sends multicast on an interface that is given by address",
        )),
    }
}

/// Returns the index of an interface for IPv6. Zero stands for any interface.
fn index_of(interface: MulticastInterface) -> io::Result<u32> {
    match interface {
        MulticastInterface::Any => Ok(0),
        MulticastInterface::Index(index) => Ok(index),
        MulticastInterface::Addr(_) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an interface for IPv6 is given by index",
        )),
    }
}

/// IPv4 groups on an interface that is given by index (`ip_mreqn` of ip(7)).
#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd",
    windows
))]
mod by_index {
    use std::io;
    use std::net::Ipv4Addr;

    use socket2::{InterfaceIndexOrAddress, Socket};

    pub(super) fn join(socket: &Socket, group: Ipv4Addr, index: u32) -> io::Result<()> {
        socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
    }

    pub(super) fn leave(socket: &Socket, group: Ipv4Addr, index: u32) -> io::Result<()> {
        socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
    }
}

#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd",
    windows
)))]
mod by_index {
    use std::io;
    use std::net::Ipv4Addr;

    use socket2::Socket;

    pub(super) fn join(_: &Socket, _: Ipv4Addr, _: u32) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "an interface for IPv4 is given by address here",
        ))
    }

    pub(super) use join as leave;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn udp_errors_are_classified_by_cause() {
        let class = |code| OsUdp::classify(&io::Error::from_raw_os_error(code));
        // Sources: udp(7), ip(7), send(2) and recv(2), "Errors".
        for code in [
            libc::ECONNREFUSED,
            libc::EHOSTUNREACH,
            libc::ENETUNREACH,
            libc::ENETDOWN,
            libc::EPERM,
            libc::EACCES,
        ] {
            assert_eq!(class(code), UdpError::OneDatagram, "{code}");
        }
        for code in [libc::EMSGSIZE, libc::ENOBUFS, libc::EBADF, libc::EINVAL] {
            assert_eq!(class(code), UdpError::Other, "{code}");
        }
        assert_eq!(class(libc::EAGAIN), UdpError::WouldBlock);
        assert_eq!(class(libc::EINTR), UdpError::Interrupted);
    }

    #[test]
    fn udp_socket_has_the_options() {
        let options = UdpOptions {
            allow_broadcast: true,
            reuse_addr: true,
            multicast_loop: false,
            multicast_hops: 7,
            hops: Some(5),
            receive_buffer_bytes: Some(40_000),
            ..Default::default()
        };
        let udp = OsUdp::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
        let socket = SockRef::from(&udp.0);
        assert!(socket.broadcast().unwrap() && socket.reuse_address().unwrap());
        assert!(!socket.multicast_loop_v4().unwrap());
        assert_eq!(socket.multicast_ttl_v4().unwrap(), 7);
        assert_eq!(socket.ttl_v4().unwrap(), 5);
        assert!(socket.recv_buffer_size().unwrap() >= 40_000);
        let wrong = UdpOptions {
            multicast_interface: MulticastInterface::Index(1),
            ..Default::default()
        };
        let error = OsUdp::bind("127.0.0.1:0".parse().unwrap(), &wrong).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
