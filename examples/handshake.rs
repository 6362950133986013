//! A handshake without any cryptography, which finds out which network and which
//! node the peer belongs to.
//!
//! ```text
//! cargo run --example handshake
//! ```
//!
//! Both ends of a connection send a hello with a magic number, a network id and a
//! node id. Other protocols and networks are refused, and so is a connection of a
//! node with itself. After that the connection is plain TCP. Two nodes that connect
//! to each other at once have two connections for a moment. Both keep the same one.

use std::error::Error;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use peerloop::config::{ConnectionConfig, OnPanic};
use peerloop::hello::{Hello, Peers, TieBreak, random_nonce};
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, Direction, DisconnectReason, Handler, Net, Node,
    Transport,
};

/// A node of the network: it keeps one connection with each other one.
struct Member {
    number: u8,
    peers: Peers,
    /// How many connections failed.
    failed: u64,
    /// Lines to print.
    story: Vec<String>,
}

impl Member {
    fn tell(&mut self, what: &str) {
        self.story.push(format!("node {}: {what}", self.number));
    }
}

impl Handler for Member {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(self.peers.session().into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        match (self.peers.connected(net, conn), self.peers.node_of(conn)) {
            (TieBreak::First, Some(id)) => self.tell(&format!("connected with node {}", id[0])),
            (TieBreak::Won(_), Some(id)) => self.tell(&format!("reconnected with node {}", id[0])),
            _ => {}
        }
    }

    fn on_message(&mut self, _: &mut Net, conn: ConnId, message: &[u8]) {
        if let Some(id) = self.peers.node_of(conn) {
            let text = String::from_utf8_lossy(message);
            self.tell(&format!("node {} says \"{text}\"", id[0]));
        }
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
        if let Some(id) = self.peers.disconnected(conn) {
            self.tell(&format!("node {} is gone", id[0]));
        }
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, info: &ConnInfo, error: ConnectError) {
        self.failed += 1;
        match info.direction {
            Direction::Inbound => self.tell(&format!("an inbound connection fails: {error}")),
            Direction::Outbound => self.tell(&format!("cannot connect: {error}")),
        }
    }
}

type MemberNode = Node<Member>;

/// A listening node, and its address. It may connect to itself, so that the
/// handshake detects it.
fn member(network: u64, number: u8) -> io::Result<(MemberNode, SocketAddr)> {
    let config = Config {
        connection: ConnectionConfig {
            require_session: true,
            ..Default::default()
        },
        allow_self_connections: true,
        // A failed assertion in a callback ends the run.
        on_panic: OnPanic::Unwind,
        ..Config::default()
    };
    // A real node has a public key or a random number for an id.
    let hello = Hello {
        network,
        ..Hello::new(*b"loop", [number; 32], random_nonce())
    };
    let member = Member {
        number,
        peers: Peers::new(hello),
        failed: 0,
        story: Vec::new(),
    };
    let mut node = Node::new(config, member)?;
    let addr = node.net().listen("127.0.0.1:0")?.addr;
    Ok((node, addr))
}

/// Turns the nodes until the condition holds, and prints their lines meanwhile.
fn run_until<const N: usize>(
    out: &mut impl Write,
    mut nodes: [&mut MemberNode; N],
    condition: impl Fn(&mut [&mut MemberNode; N]) -> bool,
) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition(&mut nodes) {
        if Instant::now() > end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        for node in &mut nodes {
            let _ = node.turn(Some(Duration::from_millis(1)))?;
            for line in node.handler_mut().story.drain(..) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(())
}

fn run(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let (mut one, addr) = member(7, 1)?;

    writeln!(out, "an HTTP client connects to node 1")?;
    let mut client = TcpStream::connect(addr)?;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    run_until(out, [&mut one], |[one]| one.handler().failed == 1)?;

    writeln!(out, "node 3, of another network, connects to node 1")?;
    let (mut three, _) = member(8, 3)?;
    three.net().connect(addr)?;
    run_until(out, [&mut one, &mut three], |[one, three]| {
        one.handler().failed == 2 && three.handler().failed == 1
    })?;

    writeln!(out, "node 1 connects to itself")?;
    one.net().connect(addr)?;
    run_until(out, [&mut one], |[one]| one.handler().failed == 4)?;

    writeln!(out, "nodes 1 and 2 connect to each other at once")?;
    let (mut two, addr_of_two) = member(7, 2)?;
    one.net().connect(addr_of_two)?;
    two.net().connect(addr)?;
    run_until(out, [&mut one, &mut two], |nodes| {
        let is_settled = |net: &Net| net.connecting_count() == 0 && net.connection_count() == 1;
        nodes.iter_mut().all(|node| is_settled(node.net()))
    })?;
    for (node, other) in [(&mut one, 2), (&mut two, 1)] {
        let conn = node.handler().peers.find(&[other; 32]).ok_or("no peer")?;
        let direction = node.net().connection(conn).map(|c| c.info().direction);
        writeln!(out, "one connection remains: {direction:?}")?;
        node.net().send(conn, "good day")?;
    }
    run_until(out, [&mut one, &mut two], |nodes| {
        let received = |node: &mut MemberNode| node.net().traffic().messages_received;
        nodes.iter_mut().all(|node| received(node) == 1)
    })?;
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match run(&mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("handshake: {error}");
            ExitCode::FAILURE
        }
    }
}
