//! Sockets that a test makes itself.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::PATIENCE;

/// A TCP socket bound to an ephemeral port of this address.
pub fn bound(ip: [u8; 4]) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let addr = SocketAddr::from((ip, 0));
    socket.bind(&addr.into()).expect("a free port");
    socket
}

pub fn local_addr(socket: &Socket) -> SocketAddr {
    let addr = socket.local_addr().expect("it is bound");
    addr.as_socket().expect("an IP address")
}

/// A socket and its address. It is bound and does not listen, so that connects
/// are refused.
pub fn refusing() -> (Socket, SocketAddr) {
    let socket = bound([127, 0, 0, 1]);
    let addr = local_addr(&socket);
    (socket, addr)
}

/// Connects from this address.
pub fn connect_from(ip: [u8; 4], addr: SocketAddr) -> TcpStream {
    let socket = bound(ip);
    socket.connect(&addr.into()).expect("a listener");
    let peer = TcpStream::from(socket);
    peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
    peer
}

/// A listener with a full backlog. Connects to it get no answer.
pub struct Saturated {
    pub addr: SocketAddr,
    _listener: Socket,
    _backlog: Vec<TcpStream>,
}

pub fn saturated() -> Saturated {
    let listener = bound([127, 0, 0, 1]);
    listener.listen(0).expect("a listener");
    let addr = local_addr(&listener);
    let connect = || TcpStream::connect_timeout(&addr, Duration::from_millis(50)).ok();
    // A backlog of 0 has room for one connection, or for a few that come at
    // once.
    let backlog: Vec<TcpStream> = std::iter::from_fn(connect).take(20).collect();
    assert!(backlog.len() < 20, "the backlog has a limit");
    Saturated {
        addr,
        _listener: listener,
        _backlog: backlog,
    }
}
