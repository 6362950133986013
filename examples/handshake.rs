//! A handshake without any cryptography, which finds out which network and which
//! node the peer belongs to.
//!
//! ```text
//! cargo run --example handshake
//! ```
//!
//! Both ends of a connection send 26 bytes at once, and read what the other sends:
//!
//! ```text
//!    0       4         6          10             18             26
//!   ┌───────┬─────────┬──────────┬──────────────┬──────────────┐
//!   │ magic │ version │ network  │ node id      │ nonce        │   big-endian
//!   └───────┴─────────┴──────────┴──────────────┴──────────────┘
//! ```
//!
//! Other protocols, versions and networks are refused. The node id is permanent,
//! and the nonce is drawn at each start. A peer with both of ours is this node
//! itself. A peer with our id alone has stolen or copied it. After that the
//! session becomes transparent, and the connection is plain TCP.
//!
//! Two nodes that connect to each other at once have two connections for a
//! moment. A node that connects again after a cut, which the other has not
//! noticed, has two for longer. The node with the smaller id decides for both: it
//! keeps the newest and closes the others. Messages that were sent on those may
//! be lost: send first in answer to a message, or send again what matters.

use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, Direction, DisconnectReason, Handler, Net, Node,
    Transport,
};
use std::collections::HashMap;
use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use peerloop::config::{ConnectionConfig, OnPanic};
use peerloop::error::SessionError;
use peerloop::session::{Identity, Output, Session, Stage};

const MAGIC: [u8; 4] = *b"loop";
const VERSION: u16 = 1;

/// The message of one end about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) network: u32,
    pub(crate) id: u64,
    pub(crate) nonce: u64,
}

impl Hello {
    pub(crate) const LEN: usize = 26;

    /// The message of a node with this network and id, from this start on.
    pub(crate) fn new(network: u32, id: u64) -> Self {
        Self {
            version: VERSION,
            network,
            id,
            nonce: RandomState::new().build_hasher().finish(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (version, network) = (self.version.to_be_bytes(), self.network.to_be_bytes());
        let (id, nonce) = (self.id.to_be_bytes(), self.nonce.to_be_bytes());
        [&MAGIC[..], &version, &network, &id, &nonce].concat()
    }

    /// `None` for too few bytes, or another magic.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (version, rest) = rest.split_first_chunk()?;
        let (network, rest) = rest.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk()?;
        let nonce = rest.first_chunk()?;
        Some(Self {
            version: u16::from_be_bytes(*version),
            network: u32::from_be_bytes(*network),
            id: u64::from_be_bytes(*id),
            nonce: u64::from_be_bytes(*nonce),
        })
    }

    /// Whether to accept a peer that sends `theirs`.
    fn judge(&self, theirs: &Self) -> Result<(), SessionError> {
        if theirs.version != self.version {
            Err(SessionError::Refused("another version"))
        } else if theirs.network != self.network {
            Err(SessionError::Refused("another network"))
        } else if theirs.id != self.id {
            Ok(())
        } else if theirs.nonce == self.nonce {
            Err(SessionError::Refused("this node itself"))
        } else {
            Err(SessionError::Refused("another node with the same id"))
        }
    }
}

/// The handshake of one connection.
pub(crate) struct Handshake {
    ours: Hello,
    theirs: Option<Hello>,
}

impl Handshake {
    pub(crate) fn new(ours: Hello) -> Self {
        Self { ours, theirs: None }
    }
}

impl Session for Handshake {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        wire.extend(self.ours.encode());
        Ok(())
    }

    fn receive(&mut self, wire: &mut [u8], _: &mut Output<'_>) -> Result<usize, SessionError> {
        // Another protocol is refused at its first wrong byte, because its peer
        // may be waiting for an answer to fewer bytes than a hello has.
        if !wire.iter().zip(&MAGIC).all(|(theirs, ours)| theirs == ours) {
            return Err(SessionError::Refused("another protocol"));
        }
        let Some(theirs) = Hello::decode(wire) else {
            return Ok(0); // They come again, with more behind them.
        };
        self.ours.judge(&theirs)?;
        self.theirs = Some(theirs);
        Ok(Hello::LEN) // What follows belongs to the messages.
    }

    fn stage(&self) -> Stage {
        match self.theirs {
            None => Stage::Handshaking,
            Some(_) => Stage::Transparent,
        }
    }

    fn identity(&self) -> Option<Identity> {
        let mut identity = Identity::default();
        identity.payload = self.theirs?.encode();
        Some(identity)
    }
}

/// A node of the network: it keeps one connection with each other one.
pub(crate) struct Member {
    hello: Hello,
    /// The connections with each other node by its id, the newest last. There are
    /// several only for a short time.
    links: HashMap<u64, Vec<ConnId>>,
    /// How many connections failed.
    failed: u64,
    /// Lines to print.
    pub(crate) story: Vec<String>,
}

impl Member {
    pub(crate) fn new(hello: Hello) -> Self {
        Self {
            hello,
            links: HashMap::new(),
            failed: 0,
            story: Vec::new(),
        }
    }

    /// The connection with another node.
    pub(crate) fn link(&self, id: u64) -> Option<ConnId> {
        self.links.get(&id)?.last().copied()
    }

    fn tell(&mut self, what: &str) {
        self.story.push(format!("node {}: {what}", self.hello.id));
    }
}

/// The hello of the peer.
fn hello_of(net: &Net, conn: ConnId) -> Option<Hello> {
    Hello::decode(&net.connection(conn)?.identity()?.payload)
}

impl Handler for Member {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(Handshake::new(self.hello).into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let Some(theirs) = hello_of(net, conn) else {
            return net.abort(conn);
        };
        let links = self.links.entry(theirs.id).or_default();
        let is_new = links.is_empty();
        if self.hello.id < theirs.id {
            links.drain(..).for_each(|older| net.close(older));
        }
        links.push(conn);
        if is_new {
            self.tell(&format!("connected with node {}", theirs.id));
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if let Some(theirs) = hello_of(net, conn) {
            let text = String::from_utf8_lossy(message);
            self.tell(&format!("node {} says \"{text}\"", theirs.id));
        }
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
        let Some(theirs) = hello_of(net, conn) else {
            return;
        };
        let Some(links) = self.links.get_mut(&theirs.id) else {
            return;
        };
        links.retain(|link| *link != conn);
        if links.is_empty() {
            self.links.remove(&theirs.id);
            self.tell(&format!("node {} is gone", theirs.id));
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

pub(crate) type MemberNode = Node<Member>;

/// A listening node, and its address. It may connect to itself, so that the
/// handshake detects it.
pub(crate) fn member(hello: Hello) -> io::Result<(MemberNode, SocketAddr)> {
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
    let mut node = Node::new(config, Member::new(hello))?;
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

pub(crate) fn run(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let (mut one, addr) = member(Hello::new(7, 1))?;

    writeln!(out, "an HTTP client connects to node 1")?;
    let mut client = TcpStream::connect(addr)?;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    run_until(out, [&mut one], |[one]| one.handler().failed == 1)?;
    writeln!(out, "the HTTP client is refused")?;

    writeln!(out, "node 3, of another network, connects to node 1")?;
    let (mut three, _) = member(Hello::new(8, 3))?;
    three.net().connect(addr)?;
    run_until(out, [&mut one, &mut three], |[one, three]| {
        one.handler().failed == 2 && three.handler().failed == 1
    })?;

    writeln!(out, "node 1 connects to itself")?;
    one.net().connect(addr)?;
    run_until(out, [&mut one], |[one]| one.handler().failed == 4)?;

    writeln!(out, "nodes 1 and 2 connect to each other at once")?;
    let (mut two, addr_of_two) = member(Hello::new(7, 2))?;
    one.net().connect(addr_of_two)?;
    two.net().connect(addr)?;
    run_until(out, [&mut one, &mut two], |nodes| {
        nodes.iter_mut().all(|node| is_settled(node))
    })?;
    for (node, other) in [(&mut one, 2), (&mut two, 1)] {
        let link = node.handler().link(other).ok_or("there is no connection")?;
        let direction = node.net().connection(link).map(|c| c.info().direction);
        writeln!(out, "one connection remains: {direction:?}")?;
        node.net().send(link, b"good day")?;
    }
    run_until(out, [&mut one, &mut two], |nodes| {
        let greeted = |node: &mut MemberNode| node.net().traffic().messages_received == 1;
        nodes.iter_mut().all(|node| greeted(node))
    })?;
    Ok(())
}

/// Whether both connections were established, and one is left.
pub(crate) fn is_settled(node: &mut MemberNode) -> bool {
    let metrics = node.net().metrics();
    let net = node.net();
    metrics.disconnected == 1 && net.connecting_count() == 0 && net.connection_count() == 1
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
