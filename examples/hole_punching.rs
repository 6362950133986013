//! Two peers behind NATs connect to each other with TCP, after a server has told
//! each of them the public address of the other.
//!
//! ```text
//! cargo run --example hole_punching
//! ```
//!
//! It shows `ConnectOptions::bound_socket`. A peer connects to the server from a
//! bound port, and from the same port to the other peer. The NAT of a peer drops
//! the SYN of the other one, until the peer has sent a SYN to it. The SYN that
//! passes arrives at a socket that connects to its sender, and the two sockets
//! become the ends of one connection (simultaneous open; RFC 9293, 3.5; RFC 5128,
//! 3.4). Both ends are outbound, so a session would need `Role::by_comparing`.
//!
//! Here all three are in one process, with addresses of the loopback
//! interface. The NAT of a peer is a socket that listens on the peer's port, with a
//! filter that drops all packets: a SYN passes only if the peer connects to its
//! sender. Linux only, because of this filter.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use peerloop::group::Group;
use peerloop::{Config, ConnId, ConnInfo, ConnectError, Handler, Net, Node};
use socket2::{Domain, Socket, Type};

/// Time for everything, and how long an attempt waits after a failed one.
const PATIENCE: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(100);

/// Tells each two peers the address of each other.
#[derive(Default)]
struct Server {
    waiting: Option<ConnId>,
}

impl Handler for Server {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let other = self.waiting.replace(conn);
        // The peer that waits may have gone.
        let Some(other) = other.filter(|other| net.connection(*other).is_some()) else {
            return;
        };
        self.waiting = None;
        for (to, about) in [(conn, other), (other, conn)] {
            let addr = net.connection(about).map(|it| it.info().addr.to_string());
            if addr.is_none_or(|addr| net.send(to, addr).is_err()) {
                net.abort(to);
            }
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, _: &[u8]) {
        net.abort_with_reason(conn, "a peer has nothing to ask");
    }
}

struct Peer {
    /// Keeps the port, from which all connects begin.
    _port: Socket,
    addr: SocketAddr,
    server: SocketAddr,
    /// The message of the other peer, or the reason why there is no message.
    outcome: Option<Result<String, String>>,
}

impl Peer {
    fn connect(&mut self, net: &mut Net, addr: SocketAddr, delay: Duration) {
        let mut options = net.connect_options();
        // Without a delay it would count for `Limits::connect_retry_rate`.
        options.delay = Some(delay);
        let begun = bound(self.addr).and_then(|socket| {
            options.bound_socket = Some(socket.into());
            Ok(net.connect_with(addr, options)?)
        });
        if let Err(error) = begun {
            self.outcome = Some(Err(format!("cannot connect to {addr}: {error}")));
        }
    }
}

impl Handler for Peer {
    fn on_start(&mut self, net: &mut Net) {
        self.connect(net, self.server, Duration::ZERO);
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let info = net.connection(conn).map(|it| it.info());
        if let Some(info) = info.filter(|it| it.addr != self.server) {
            let (addr, direction) = (info.addr, info.direction);
            println!("{} is connected to {addr}: {direction:?}", self.addr);
            // A new connection has room.
            let _ = net.send(conn, format!("greetings from {}", self.addr));
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let text = String::from_utf8_lossy(message);
        let from = net.connection(conn).map(|it| it.info().addr);
        if from != Some(self.server) {
            self.outcome = Some(Ok(text.into_owned()));
        } else if let Ok(other) = text.parse() {
            println!("the server tells {} to connect to {other}", self.addr);
            self.connect(net, other, Duration::ZERO);
        }
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        _: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        if info.addr == self.server {
            self.outcome = Some(Err(format!("connecting to the server: {error}")));
        } else {
            // The SYN of the other peer came too early, or its NAT has refused ours.
            self.connect(net, info.addr, RETRY);
        }
    }
}

/// A socket that shares its port with other sockets of this program.
fn bound(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    #[cfg(target_os = "linux")]
    socket.set_reuse_port(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Drops all packets to this port, as a NAT does, except for packets of the
/// connections that other sockets with this port have or begin.
fn put_behind_nat(port: &Socket) -> io::Result<()> {
    // The instruction BPF_RET | BPF_K of bpf(4): keep 0 bytes of the packet.
    #[cfg(target_os = "linux")]
    port.attach_filter(&[socket2::SockFilter::new(6, 0, 0, 0)])?;
    port.listen(1)
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut rendezvous = Node::new(Config::default(), Server::default())?;
    let server = rendezvous.net().listen("127.0.0.1:0")?.addr;
    let _running = rendezvous.spawn()?;
    let mut group = Group::new()?;
    let mut peers = Vec::new();
    for host in [2, 3] {
        let port = bound((Ipv4Addr::new(127, 0, 0, host), 0).into())?;
        put_behind_nat(&port)?;
        let addr = port.local_addr()?.as_socket().ok_or("no IP address")?;
        let dropped = TcpStream::connect_timeout(&addr, RETRY);
        if dropped.map_err(|it| it.kind()).err() != Some(io::ErrorKind::TimedOut) {
            return Err(format!("a connect to {addr} is not dropped").into());
        }
        println!("{addr} is behind a NAT, and connects to the server at {server}");
        let peer = Peer {
            _port: port,
            addr,
            server,
            outcome: None,
        };
        peers.push(group.add(Config::default(), peer)?);
    }
    let _ = group.run_until(PATIENCE, |group| {
        group.handlers(&peers).all(|peer| peer.outcome.is_some())
    })?;
    for peer in peers {
        let Peer { addr, outcome, .. } = group.remove(peer).ok_or("no peer")?;
        println!(
            "{addr} has received: {}",
            outcome.ok_or("no connection in time")??
        );
    }
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hole_punching: {error}");
            ExitCode::FAILURE
        }
    }
}
