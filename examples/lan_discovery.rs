//! Nodes that find each other by multicast, and connect to each other.
//!
//! ```text
//! cargo run --example lan_discovery              # four nodes on this host
//! cargo run --example lan_discovery 192.168.1.5  # a node in your network
//! ```
//!
//! It shows UDP beside TCP. Every node announces the port of its listener to a
//! multicast group, again and again, because datagrams get lost. Of two nodes the
//! one with the lower number connects, so that they have one connection.
//!
//! Without an argument, four nodes of this process use the loopback interface, and
//! the program ends when each of them has greeted all others. With the address of
//! an interface, one node runs until it is interrupted. Start it on several hosts.

use std::collections::HashSet;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, io};

use peerloop::config::MulticastInterface;
use peerloop::group::Group;
use peerloop::hello::random_nonce;
use peerloop::{
    Config, ConnId, ConnMap, DisconnectReason, Handler, Net, Node, RunEnd, TimerId, UdpId,
    UdpOptions,
};

const USAGE: &str = "usage: lan_discovery [ADDRESS]";

/// A group for private use (RFC 2365, 6.1), and a port.
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 70, 79));
const PORT: u16 = 7119;

/// Nodes of the demonstration.
const NODES: usize = 4;

const ANNOUNCE_EVERY: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);

/// A node of a local network.
struct Lan {
    interface: Ipv4Addr,
    /// The beginning of each announcement. Nodes of other networks have another one.
    network: [u8; 8],
    number: u32,
    /// The UDP socket, and the port of the listener.
    sockets: io::Result<(UdpId, u16)>,
    /// The nodes that have greeted this one.
    neighbours: ConnMap<u32>,
}

impl Lan {
    fn new(interface: Ipv4Addr, network: [u8; 8]) -> Self {
        Self {
            interface,
            network,
            number: random_nonce() as u32,
            sockets: Err(io::ErrorKind::NotConnected.into()),
            neighbours: ConnMap::new(),
        }
    }

    fn open(&self, net: &mut Net) -> io::Result<(UdpId, u16)> {
        let multicast_interface = MulticastInterface::Addr(self.interface);
        let options = UdpOptions {
            // The nodes of a host share the port. macOS and the BSDs want both.
            reuse_addr: true,
            reuse_port: cfg!(all(unix, not(target_os = "linux"))),
            max_datagram_len: 64,
            multicast_interface,
            ..Default::default()
        };
        let udp = net.bind_udp(("0.0.0.0", PORT), options)?;
        net.join_multicast(udp, GROUP, multicast_interface)?;
        Ok((udp, net.listen((self.interface, 0))?.addr.port()))
    }
}

impl Handler for Lan {
    fn on_start(&mut self, net: &mut Net) {
        self.sockets = self.open(net);
        net.set_interval(ANNOUNCE_EVERY, 0);
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        let Ok((udp, port)) = self.sockets else {
            return net.shutdown(Duration::ZERO);
        };
        let (port, number) = (port.to_be_bytes(), self.number.to_be_bytes());
        let announcement = [&self.network[..], &port, &number].concat();
        let _ = net.send_to(udp, &announcement, (GROUP, PORT).into());
    }

    fn on_datagram(&mut self, net: &mut Net, _: UdpId, from: SocketAddr, datagram: &[u8]) {
        // Everyone can send everything, so the length is a part of the check.
        let announcement = datagram.strip_prefix(&self.network);
        let Some(&[p0, p1, n0, n1, n2, n3]) = announcement else {
            return;
        };
        if self.number < u32::from_be_bytes([n0, n1, n2, n3]) {
            // An address that is connected is refused as a duplicate.
            let _ = net.connect((from.ip(), u16::from_be_bytes([p0, p1])));
        }
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        if net.send(conn, &self.number.to_be_bytes()).is_err() {
            net.abort(conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let Ok(number) = message.try_into().map(u32::from_be_bytes) else {
            return net.abort_with_reason(conn, "a greeting is a number");
        };
        println!("node {:08x} is greeted by node {number:08x}", self.number);
        self.neighbours.insert(conn, number);
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
        self.neighbours.remove(conn);
    }
}

/// Runs nodes of this process until each of them has one connection with each other.
fn demonstrate() -> Result<(), Box<dyn Error>> {
    let network = random_nonce().to_be_bytes();
    let mut group = Group::new()?;
    let add = |_| group.add(Config::default(), Lan::new(Ipv4Addr::LOCALHOST, network));
    let nodes = (0..NODES).map(add).collect::<io::Result<Vec<_>>>()?;
    let end = group.run_until(PATIENCE, |group| {
        group.handlers(&nodes).all(|lan| {
            let known: HashSet<_> = lan.neighbours.values().collect();
            lan.neighbours.len() == NODES - 1 && known.len() == NODES - 1
        })
    })?;
    for lan in nodes.iter().filter_map(|node| group.remove(*node)) {
        lan.sockets?;
    }
    if end != RunEnd::Done {
        return Err(format!("some have not found all others after {PATIENCE:?}").into());
    }
    println!("each of the {NODES} nodes has one connection with each other");
    Ok(())
}

fn run() -> Result<(), Box<dyn Error>> {
    let Some(interface) = env::args().nth(1) else {
        return demonstrate();
    };
    let interface = interface.parse().map_err(|_| USAGE)?;
    let mut node = Node::new(Config::default(), Lan::new(interface, *b"lan-demo"))?;
    node.run()?;
    node.into_handler().sockets?;
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lan_discovery: {error}");
            ExitCode::FAILURE
        }
    }
}
