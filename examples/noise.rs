//! Two nodes that know each other by their keys: each shows whom it talks to, and nobody else can listen.
//!
//! ```text
//! cargo run --example noise --features noise
//! ```
//!
//! Both run in this thread, turn by turn. The pattern is XX: each side learns the other's key in the handshake, and says
//! its name in the payload. The node that dials knows whom it wants and accepts no other key; the one that accepts
//! has a list of friends.

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use peerloop::noise::{Noise, Pattern, StaticKey};
use peerloop::session::{Identity, Session};
use peerloop::{
    Config, ConnId, ConnectError, Direction, DisconnectReason, Handler, Net, Node, Peer,
};

struct Person {
    name: &'static str,
    key: StaticKey,
    /// Whom it dials, and whom it talks to when dialled.
    friend: [u8; 32],
    /// What happened, for printing.
    story: Vec<String>,
    is_done: bool,
    failure: Option<String>,
}

impl Person {
    fn new(name: &'static str, key: StaticKey, friend: &StaticKey) -> Self {
        Self {
            name,
            key,
            friend: *friend.public(),
            story: Vec::new(),
            is_done: false,
            failure: None,
        }
    }

    fn tell(&mut self, what: &str) {
        self.story.push(format!("{}: {what}", self.name));
    }
}

impl Handler for Person {
    fn session(&mut self, net: &mut Net, conn: ConnId) -> io::Result<Option<Box<dyn Session>>> {
        let side = net
            .connection(conn)
            .map_or(Direction::Inbound, Peer::direction);
        let mut noise = Noise::new(Pattern::XX, side)
            .prologue(b"peerloop example/1")
            .local_key(&self.key)
            .payload(self.name.as_bytes());
        if side == Direction::Outbound {
            noise = noise.remote_key(&self.friend);
        }
        Ok(Some(Box::new(noise.build()?)))
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let Some(identity) = net.connection(conn).and_then(Peer::identity) else {
            return net.abort(conn);
        };
        let key = identity.public_key.as_deref().unwrap_or_default();
        let is_friend = key == self.friend;
        let who = describe(identity);
        self.tell(&format!("connected with {who}"));
        if !is_friend {
            return net.close(conn);
        }
        let greeting = format!("hello from {}", self.name);
        if let Err(error) = net.send(conn, greeting.as_bytes()) {
            self.tell(&format!("cannot greet: {error}"));
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let text = String::from_utf8_lossy(message);
        self.tell(&format!("hears \"{text}\""));
        // Who dialled has heard all there is to hear.
        if net.connection(conn).map(Peer::direction) == Some(Direction::Outbound) {
            net.close(conn);
        }
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.tell(&format!("the connection is over: {reason}"));
        self.is_done = true;
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, addr: SocketAddr, error: ConnectError) {
        self.failure = Some(format!("dialling {addr}: {error}"));
    }
}

/// The name that a peer gave itself, and the key that it has proved to have.
fn describe(identity: &Identity) -> String {
    let name = String::from_utf8_lossy(&identity.payload);
    let key = identity.public_key.as_deref().unwrap_or_default();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}, key {hex}")
}

pub(crate) fn run(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let (alice, bob) = (StaticKey::generate()?, StaticKey::generate()?);
    let mut dialling = Node::new(Config::default(), Person::new("alice", alice.clone(), &bob))?;
    let mut accepting = Node::new(Config::default(), Person::new("bob", bob, &alice))?;
    let addr = accepting.net().listen("127.0.0.1:0")?;
    dialling.net().connect(addr)?;
    while !dialling.handler().is_done || !accepting.handler().is_done {
        for node in [&mut dialling, &mut accepting] {
            let _ = node.turn(Some(Duration::from_millis(1)))?;
            for line in node.handler_mut().story.drain(..) {
                writeln!(out, "{line}")?;
            }
        }
        if let Some(failure) = &dialling.handler().failure {
            return Err(failure.as_str().into());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match run(&mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("noise: {error}");
            ExitCode::FAILURE
        }
    }
}
