//! A chat for several people: one hosts it, the others join, and all of them
//! see every line.
//!
//! ```text
//! cargo run --example chat host 127.0.0.1:4000 alice
//! cargo run --example chat join 127.0.0.1:4000 bob
//! ```
//!
//! Typed lines are sent; `/quit` or the end of the input leaves. The example
//! shows lines as framing, state for each connection in a `ConnMap`, a
//! broadcast, a thread that reaches the loop through a `Handle`, and how to
//! treat untrusted input.
//!
//! On the wire everything is a line of UTF-8. The first line of a client is its
//! name, every further one is a line of the chat. Lines of the host are to be
//! shown as they are. So `nc 127.0.0.1 4000` is a client, too.

use peerloop::config::{
    ConnectionConfig, Keepalive, Limits, OnFull, SendQueueConfig, SocketConfig, Timeouts,
};
use peerloop::{
    Config, ConnId, ConnInfo, ConnMap, ConnectError, DisconnectReason, Handle, Handler, Net, Node,
    SendError, Turn,
};
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use peerloop::framing::Framing;

const USAGE: &str = "usage: chat host ADDRESS:PORT NAME
       chat join ADDRESS:PORT NAME";

/// Maximum number of characters of a name and of a line; the rest is cut off.
const NAME_MAX: usize = 24;
const TEXT_MAX: usize = 1000;

/// Bytes of a line: up to four for each character, and some for what the host
/// puts around them. A longer line ends the connection.
const LINE_MAX: usize = 4 * (NAME_MAX + TEXT_MAX) + 64;

/// How long the last lines may take to be sent.
const GRACE: Duration = Duration::from_secs(1);

fn config() -> Config {
    Config {
        connection: ConnectionConfig {
            framing: Framing::Delimited(b'\n'),
            max_message_len: LINE_MAX,
            send_queue: SendQueueConfig {
                // A client that has not read a mebibyte of chat is disconnected.
                max_bytes: 1024 * 1024,
                on_full: OnFull::Disconnect,
                ..Default::default()
            },
            // People may be silent for hours. The system checks by keepalive
            // whether they are still connected.
            timeouts: Timeouts {
                idle: None,
                ..Timeouts::default()
            },
            ..Default::default()
        },
        limits: Limits {
            max_connections: 100,
            ..Default::default()
        },
        sockets: SocketConfig {
            keepalive: Some(Keepalive::default()),
            ..Default::default()
        },
        ..Config::default()
    }
}

/// The person at this terminal, host or client.
trait Person: Handler + 'static {
    fn say(&mut self, net: &mut Net, text: &[u8]) -> Result<(), SendError>;
}

struct Host {
    name: String,
    /// The clients that have sent a name. Others see nothing of the chat.
    names: ConnMap<String>,
}

impl Host {
    /// Sends a line to all clients except one.
    fn relay(&self, net: &mut Net, except: Option<ConnId>, line: &str) {
        let readers = self.names.keys().filter(|conn| Some(*conn) != except);
        let outcome = net.broadcast(readers, line.as_bytes());
        log::debug!("{line:?}: {outcome:?}");
    }

    /// Takes the first line of a client, which is its name.
    fn welcome(&mut self, net: &mut Net, conn: ConnId, name: String) {
        if let Some(objection) = self.objection(&name) {
            tell(net, conn, objection);
            return net.close(conn);
        }
        let others = self.names.len() + 1;
        tell(
            net,
            conn,
            &format!("* welcome, {name}; here already: {others}"),
        );
        let line = format!("* {name} joins");
        show(net, &line);
        self.relay(net, None, &line);
        self.names.insert(conn, name);
    }

    /// Why a client cannot have this name, if so.
    fn objection(&self, name: &str) -> Option<&'static str> {
        if name.is_empty() {
            return Some("* a name has letters or digits");
        }
        let taken = name == self.name || self.names.values().any(|other| other == name);
        taken.then_some("* somebody has this name already")
    }
}

impl Person for Host {
    fn say(&mut self, net: &mut Net, text: &[u8]) -> Result<(), SendError> {
        let line = format!("<{}> {}", self.name, clean(text, TEXT_MAX));
        self.relay(net, None, &line);
        Ok(())
    }
}

impl Handler for Host {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let Some(name) = self.names.get(conn) else {
            return self.welcome(net, conn, clean_name(message));
        };
        let line = format!("<{name}> {}", clean(message, TEXT_MAX));
        show(net, &line);
        self.relay(net, Some(conn), &line);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        if let Some(name) = self.names.remove(conn) {
            log::info!("{name}, {conn}: {reason}");
            let line = format!("* {name} leaves");
            show(net, &line);
            self.relay(net, None, &line);
        }
    }
}

struct Client {
    name: String,
    /// The connection to the host, once it is established.
    host: Option<ConnId>,
    failure: Option<String>,
}

impl Client {
    fn fail(&mut self, net: &mut Net, failure: String) {
        self.failure = Some(failure);
        net.shutdown(Duration::ZERO);
    }
}

impl Person for Client {
    fn say(&mut self, net: &mut Net, text: &[u8]) -> Result<(), SendError> {
        let host = self.host.ok_or(SendError::Closed)?;
        net.send(host, text)
    }
}

impl Handler for Client {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.host = Some(conn);
        if let Err(error) = net.send(conn, self.name.as_bytes()) {
            self.fail(net, format!("sending the name: {error}"));
        }
    }

    fn on_message(&mut self, net: &mut Net, _: ConnId, message: &[u8]) {
        show(net, &clean(message, LINE_MAX));
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        _: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        let addr = info.addr;
        self.fail(net, format!("connecting to {addr}: {error}"));
    }

    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, reason: DisconnectReason) {
        // The person at this terminal asked for a shutdown.
        if reason != DisconnectReason::Shutdown {
            self.fail(net, format!("the chat is over: {reason}"));
        }
    }
}

/// Sends a line to one client, whose queue is nearly empty.
fn tell(net: &mut Net, conn: ConnId, line: &str) {
    if let Err(error) = net.send(conn, line.as_bytes()) {
        log::warn!("sending to {conn}: {error}");
        net.abort(conn);
    }
}

/// Shows a line on this terminal; leaves when the terminal is closed.
fn show(net: &mut Net, line: &str) {
    if writeln!(io::stdout(), "{line}").is_err() {
        net.shutdown(GRACE);
    }
}

/// Untrusted text, without the characters that control a terminal.
fn clean(text: &[u8], characters_max: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let harmless = text.chars().filter(|character| !character.is_control());
    harmless.take(characters_max).collect()
}

/// An untrusted name: letters, digits, dashes and underscores, so that no name
/// looks like a line of the chat.
fn clean_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let allowed = |character: &char| character.is_alphanumeric() || matches!(character, '-' | '_');
    name.chars().filter(allowed).take(NAME_MAX).collect()
}

/// Starts a thread that sends what is typed here, until `/quit` or the end of
/// the input, and then leaves.
fn talk<P: Person>(handle: Handle<P>) {
    thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            let Ok(line) = line else { break };
            if line.trim_ascii() == b"/quit" {
                break;
            }
            // `ask` waits until it is done (`post` would not), so that a long
            // pasted text cannot fill the command queue.
            match handle.ask(move |person, net| person.say(net, &line)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::error!("not said: {error}"),
                Err(error) => return log::debug!("the chat is over: {error}"),
            }
        }
        handle.shutdown(GRACE);
    });
}

fn host(addr: SocketAddr, name: String) -> Result<(), Box<dyn Error>> {
    let names = ConnMap::new();
    let mut node = Node::new(config(), Host { name, names })?;
    let addr = node
        .net()
        .listen(addr)
        .map_err(|error| format!("listening on {addr}: {error}"))?;
    writeln!(io::stdout(), "* listening on {addr}")?;
    talk(node.handle());
    Ok(node.run()?)
}

fn join(addr: SocketAddr, name: String) -> Result<(), Box<dyn Error>> {
    let client = Client {
        name,
        host: None,
        failure: None,
    };
    let mut node = Node::new(config(), client)?;
    node.net().connect(addr)?;
    // Input is read only once there is a connection to send it on.
    while node.handler().host.is_none() && node.turn(None)? != Turn::Stopped {}
    talk(node.handle());
    node.run()?;
    match node.handler_mut().failure.take() {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::{Long, Short, Value, ValueExt};

    let mut words = Vec::new();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) => words.push(word.string()?),
            Short('h') | Long("help") => return Ok(writeln!(io::stdout(), "{USAGE}")?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let [role, addr, name] = words.as_slice() else {
        return Err(USAGE.into());
    };
    let addr = addr.parse().map_err(|error| format!("{addr}: {error}"))?;
    let name = clean_name(name.as_bytes());
    if name.is_empty() {
        return Err("a name has letters or digits".into());
    }
    match role.as_str() {
        "host" => host(addr, name),
        "join" => join(addr, name),
        _ => Err(USAGE.into()),
    }
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}
