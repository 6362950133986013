//! A server that sends everything back, and a client for it.
//!
//! ```text
//! cargo run --example echo server 127.0.0.1:4000
//! cargo run --example echo client 127.0.0.1:4000 "some text" "and more"
//! cargo run --example echo client 127.0.0.1:4000 < some-file
//! ```
//!
//! The server is complete, in a few lines. The client shows how a thread that
//! blocks (on its standard input) works together with a loop that does not: it
//! gives commands to the loop through a `Handle`, and gets answers through a
//! channel. `RUST_LOG=debug` shows the connections. A connection without a
//! message for a minute is closed: that is the default of `Timeouts::idle`.

use peerloop::{Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node};
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

const USAGE: &str = "usage: echo server ADDRESS:PORT
       echo client ADDRESS:PORT [TEXT]...

The client sends every TEXT, or every line of its standard input if there is none.";

/// How long the client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

struct Server;

impl Handler for Server {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if let Err(error) = net.send(conn, message) {
            log::warn!("answering {conn}: {error}");
            return net.abort(conn);
        }
        // A peer that does not read the answers gets no further ones, so that
        // the queue stays short.
        if !net.is_writable(conn) {
            net.pause(conn);
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        net.resume(conn);
    }
}

fn serve(addr: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut node = Node::new(Config::default(), Server)?;
    let addr = node
        .net()
        .listen(addr)
        .map_err(|error| format!("listening on {addr}: {error}"))?;
    writeln!(io::stdout(), "listening on {addr}")?;
    Ok(node.run()?)
}

/// A report of the client's loop to its main thread.
enum Event {
    Connected,
    Answer(Vec<u8>),
    Ended(String),
}

struct Client {
    events: SyncSender<Event>,
}

impl Client {
    fn tell(&self, net: &mut Net, conn: ConnId, event: Event) {
        // The main thread takes every answer before it asks again. If the
        // channel is full all the same, the server sends unasked.
        if self.events.try_send(event).is_err() {
            net.abort(conn);
        }
    }
}

impl Handler for Client {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.tell(net, conn, Event::Connected);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.tell(net, conn, Event::Answer(message.to_vec()));
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        let addr = info.addr;
        let what = format!("connecting to {addr}: {error}");
        self.tell(net, conn, Event::Ended(what));
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        let what = format!("the connection has ended: {reason}");
        self.tell(net, conn, Event::Ended(what));
    }
}

fn ask(addr: SocketAddr, texts: &[&str]) -> Result<(), Box<dyn Error>> {
    let (sender, events) = mpsc::sync_channel(8);
    let mut node = Node::new(Config::default(), Client { events: sender })?;
    let conn = node.net().connect(addr)?;
    let node = node.spawn()?;
    let handle = node.handle();

    let Event::Connected = next(&events)? else {
        return Err("an answer to nothing".into());
    };
    let mut out = io::stdout();
    for line in lines(texts) {
        let line = line?;
        let question = line.clone();
        handle.ask(move |_, net| net.send(conn, &question))??;
        match next(&events)? {
            Event::Answer(answer) if answer == line => out.write_all(&answer)?,
            _ => return Err("the answer is not what was sent".into()),
        }
        out.write_all(b"\n")?;
    }
    // Sends what is queued, closes the connection, and ends the loop.
    node.shutdown(Duration::from_secs(1));
    node.join()?;
    Ok(())
}

/// Waits for the next report of the loop.
fn next(events: &Receiver<Event>) -> Result<Event, String> {
    match events.recv_timeout(PATIENCE) {
        Ok(Event::Ended(what)) => Err(what),
        Ok(event) => Ok(event),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

/// The texts, or the lines of the standard input if there is no text.
fn lines<'a>(texts: &'a [&str]) -> Box<dyn Iterator<Item = io::Result<Vec<u8>>> + 'a> {
    if texts.is_empty() {
        Box::new(io::stdin().lock().split(b'\n'))
    } else {
        Box::new(texts.iter().map(|text| Ok(text.as_bytes().to_vec())))
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
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["server", addr] => serve(address(addr)?),
        ["client", addr, texts @ ..] => ask(address(addr)?, texts),
        _ => Err(USAGE.into()),
    }
}

fn address(word: &str) -> Result<SocketAddr, String> {
    word.parse().map_err(|error| format!("{word}: {error}"))
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}
