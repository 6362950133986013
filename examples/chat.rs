//! A chat for several people: one hosts it, the others join, and everybody sees what everybody says.
//!
//! ```text
//! cargo run --example chat host 127.0.0.1:4000 alice
//! cargo run --example chat join 127.0.0.1:4000 bob
//! ```
//!
//! What is typed is said; `/quit` or the end of the input leaves. It shows lines as framing, state for each
//! connection in a `ConnMap`, a broadcast, a thread that reaches the loop through a `Handle`, and how to deal with
//! what strangers send.
//!
//! On the wire everything is a line of UTF-8. The first line of a guest is its name, every further one is something
//! it says. Lines of the host are to be shown as they are. So `nc 127.0.0.1 4000` makes a guest, too.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use peerloop::{
    Config, ConnId, ConnMap, ConnectError, DisconnectReason, Framing, Handle, Handler, Net, Node,
    Overflow, SendError, Timeouts, Turn,
};

const USAGE: &str = "usage: chat host ADDRESS:PORT NAME
       chat join ADDRESS:PORT NAME";

/// Characters of a name, and of what somebody says at once; the rest is cut off.
const NAME_MAX: usize = 24;
const TEXT_MAX: usize = 1000;

/// Bytes of a line: up to four for each character, and some for what the host puts around them. Whoever sends a
/// longer one is disconnected.
const LINE_MAX: usize = 4 * (NAME_MAX + TEXT_MAX) + 64;

/// How long the last words may take to leave.
const GRACE: Duration = Duration::from_secs(1);

fn config() -> Config {
    Config {
        framing: Framing::Delimited(b'\n'),
        max_frame: LINE_MAX,
        max_connections: 100,
        // Whoever has not read a mebibyte of chat is not waited for.
        queue_max: 1024 * 1024,
        overflow: Overflow::Close,
        // People may be silent for hours; whether they are still there is for the system to ask.
        timeouts: Timeouts {
            idle: None,
            ..Timeouts::default()
        },
        keepalive: Some(Duration::from_secs(60)),
        ..Config::default()
    }
}

/// Host and guest alike: somebody who sits at this terminal and types.
trait Person: Handler + 'static {
    fn say(&mut self, net: &mut Net, text: &[u8]) -> Result<(), SendError>;
}

struct Host {
    name: String,
    /// Those who have told their name. Others see nothing of the chat.
    guests: ConnMap<String>,
}

impl Host {
    /// Shows a line to all guests but one.
    fn relay(&self, net: &mut Net, except: Option<ConnId>, line: &str) {
        let readers = self.guests.keys().filter(|guest| Some(*guest) != except);
        let outcome = net.broadcast(readers, line.as_bytes());
        log::debug!("{line:?}: {outcome:?}");
    }

    /// The first line of a guest is its name.
    fn welcome(&mut self, net: &mut Net, conn: ConnId, name: String) {
        if let Some(objection) = self.objection(&name) {
            tell(net, conn, objection);
            return net.close(conn);
        }
        let others = self.guests.len() + 1;
        tell(
            net,
            conn,
            &format!("* welcome, {name}; here already: {others}"),
        );
        let line = format!("* {name} joins");
        show(net, &line);
        self.relay(net, None, &line);
        self.guests.insert(conn, name);
    }

    /// Why nobody can have this name, if so.
    fn objection(&self, name: &str) -> Option<&'static str> {
        if name.is_empty() {
            return Some("* a name has letters or digits");
        }
        let taken = name == self.name || self.guests.values().any(|guest| guest == name);
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
        let Some(name) = self.guests.get(conn) else {
            return self.welcome(net, conn, clean_name(message));
        };
        let line = format!("<{name}> {}", clean(message, TEXT_MAX));
        show(net, &line);
        self.relay(net, Some(conn), &line);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        if let Some(name) = self.guests.remove(conn) {
            log::info!("{name}, {conn}: {reason}");
            let line = format!("* {name} leaves");
            show(net, &line);
            self.relay(net, None, &line);
        }
    }
}

struct Guest {
    name: String,
    /// The connection to the host, once there is one.
    host: Option<ConnId>,
    failure: Option<String>,
}

impl Guest {
    fn fail(&mut self, net: &mut Net, failure: String) {
        self.failure = Some(failure);
        net.shutdown(Duration::ZERO);
    }
}

impl Person for Guest {
    fn say(&mut self, net: &mut Net, text: &[u8]) -> Result<(), SendError> {
        let host = self.host.ok_or(SendError::Closed)?;
        net.send(host, text)
    }
}

impl Handler for Guest {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.host = Some(conn);
        if let Err(error) = net.send(conn, self.name.as_bytes()) {
            self.fail(net, format!("telling the name: {error}"));
        }
    }

    fn on_message(&mut self, net: &mut Net, _: ConnId, message: &[u8]) {
        show(net, &clean(message, LINE_MAX));
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        _: ConnId,
        addr: SocketAddr,
        error: ConnectError,
    ) {
        self.fail(net, format!("connecting to {addr}: {error}"));
    }

    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, reason: DisconnectReason) {
        // A shutdown is what whoever sits here asked for.
        if reason != DisconnectReason::Shutdown {
            self.fail(net, format!("the chat is over: {reason}"));
        }
    }
}

/// Sends a line to one guest, who has hardly been sent anything before.
fn tell(net: &mut Net, conn: ConnId, line: &str) {
    if let Err(error) = net.send(conn, line.as_bytes()) {
        log::warn!("telling {conn}: {error}");
        net.abort(conn);
    }
}

/// Shows a line to whoever sits here; leaves when nobody does any more.
fn show(net: &mut Net, line: &str) {
    if writeln!(io::stdout(), "{line}").is_err() {
        net.shutdown(GRACE);
    }
}

/// A stranger's text, without what could play tricks on a terminal.
fn clean(text: &[u8], characters_max: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let harmless = text.chars().filter(|character| !character.is_control());
    harmless.take(characters_max).collect()
}

/// A stranger's name: letters, digits, dashes and underscores, so that no name looks like something that was said.
fn clean_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let allowed = |character: &char| character.is_alphanumeric() || matches!(character, '-' | '_');
    name.chars().filter(allowed).take(NAME_MAX).collect()
}

/// Has a thread of its own say what is typed here, until `/quit` or the end of the input, and leave then.
fn talk<P: Person>(handle: Handle<P>) {
    thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            let Ok(line) = line else { break };
            if line.trim_ascii() == b"/quit" {
                break;
            }
            // `ask` waits until it is done (`post` would not), so that a pasted novel cannot overrun the loop.
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
    let guests = ConnMap::new();
    let mut node = Node::new(config(), Host { name, guests })?;
    let addr = node
        .net()
        .listen(addr)
        .map_err(|error| format!("listening on {addr}: {error}"))?;
    writeln!(io::stdout(), "* listening on {addr}")?;
    talk(node.handle());
    Ok(node.run()?)
}

fn join(addr: SocketAddr, name: String) -> Result<(), Box<dyn Error>> {
    let guest = Guest {
        name,
        host: None,
        failure: None,
    };
    let mut node = Node::new(config(), guest)?;
    node.net().connect(addr)?;
    // Nothing can be said before there is somebody to say it to.
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
