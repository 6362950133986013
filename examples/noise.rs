//! Two nodes that know each other by their keys. Each shows the key of its peer,
//! and what they send is encrypted.
//!
//! ```text
//! cargo run --example noise --features noise
//! ```
//!
//! Both run in this thread, turn by turn. The pattern is XX: each end learns the
//! other's key in the handshake, and sends its name in the payload. The node that
//! connects expects one key and accepts no other one. The node that listens
//! compares the key with a list of friends, here of one.

use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, Direction, DisconnectReason, Handler, Net, Node,
    Transport,
};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use peerloop::config::{ConnectionConfig, OnPanic};
use peerloop::noise::{Noise, Pattern, StaticKey};
use peerloop::session::Identity;

struct Person {
    name: &'static str,
    key: StaticKey,
    /// The only key that it accepts, for outbound and inbound connections.
    friend: [u8; 32],
    /// Lines to print.
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
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        let mut noise = Noise::new(Pattern::XX, info.direction)
            .prologue(b"peerloop example/1")
            .local_key(&self.key)
            .payload(self.name.as_bytes());
        if info.direction == Direction::Outbound {
            noise = noise.remote_key(&self.friend);
        }
        Ok(noise.build()?.into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let Some(identity) = net.connection(conn).and_then(|c| c.identity()) else {
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
        self.tell(&format!("receives \"{text}\""));
        // The node that connected has received all messages.
        if net.connection(conn).map(|c| c.info().direction) == Some(Direction::Outbound) {
            net.close(conn);
        }
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.tell(&format!("the connection is over: {reason}"));
        self.is_done = true;
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, info: &ConnInfo, error: ConnectError) {
        let addr = info.addr;
        self.failure = Some(format!("connecting to {addr}: {error}"));
    }
}

/// The name that the peer sent, and the key that the handshake has proved.
fn describe(identity: &Identity) -> String {
    let name = String::from_utf8_lossy(&identity.payload);
    let key = identity.public_key.as_deref().unwrap_or_default();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}, key {hex}")
}

pub(crate) fn run(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let (alice, bob) = (StaticKey::generate()?, StaticKey::generate()?);
    let config = Config {
        connection: ConnectionConfig {
            require_session: true,
            ..Default::default()
        },
        // A failed assertion in a callback ends the run.
        on_panic: OnPanic::Unwind,
        ..Config::default()
    };
    let person = Person::new("alice", alice.clone(), &bob);
    let mut connecting = Node::new(config.clone(), person)?;
    let mut listening = Node::new(config, Person::new("bob", bob, &alice))?;
    let addr = listening.net().listen("127.0.0.1:0")?.addr;
    connecting.net().connect(addr)?;
    while !connecting.handler().is_done || !listening.handler().is_done {
        for node in [&mut connecting, &mut listening] {
            let _ = node.turn(Some(Duration::from_millis(1)))?;
            for line in node.handler_mut().story.drain(..) {
                writeln!(out, "{line}")?;
            }
        }
        if let Some(failure) = &connecting.handler().failure {
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
