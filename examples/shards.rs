//! A chat room on as many threads as there are cores: every line is sent to all
//! other connections, on all shards.
//!
//! ```text
//! cargo run --release --example shards                  # ends by itself
//! cargo run --release --example shards 127.0.0.1:4000   # a server
//! cargo run --release --example shards 127.0.0.1:4000 --shards 4
//! ```
//!
//! `nc 127.0.0.1 4000` is a client of the server.
//!
//! A message is a line. Every shard has a `Room` that knows all connections,
//! because the other shards report theirs to it. So there is no lock, and a line
//! is framed once, however many connections it is sent to.

use peerloop::config::ConnectionConfig;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use peerloop::framing::Framing;
use peerloop::shards::{ShardOptions, Shards, ShardsHandle};
use peerloop::{Config, ConnId, ConnMap, DisconnectReason, Handler, Net};

const USAGE: &str = "usage: shards [ADDRESS:PORT] [--shards NUMBER]";

/// Connections of the demonstration.
const CLIENTS: usize = 8;

/// How long each of its steps may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The state of one shard.
struct Room {
    /// The connections of all shards.
    people: ConnMap<()>,
    all: ShardsHandle<Self>,
}

impl Handler for Room {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        // This shard gets the call too. If the queue of a shard is full, that shard
        // would not know the connection.
        let posted = self.all.post_all(move |room, _| {
            room.people.insert(conn, ());
        });
        if posted.is_err() {
            net.close(conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, line: &[u8]) {
        let others = self.people.keys().filter(|other| *other != conn);
        let outcome = net.broadcast(others, line);
        log::debug!("{conn}: {outcome:?}");
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
        // A shard that does not get the call keeps a stale id.
        let _ = self.all.post_all(move |room, _| {
            room.people.remove(conn);
        });
    }
}

fn open(addr: SocketAddr, options: ShardOptions) -> io::Result<(Shards<Room>, SocketAddr)> {
    let config = Config {
        name: "room".to_owned(),
        connection: ConnectionConfig {
            framing: Framing::Delimited(b'\n'),
            max_message_len: 1000,
            ..Default::default()
        },
        ..Config::default()
    };
    let shards = Shards::start(config, options, |_, all| Room {
        people: ConnMap::new(),
        all: all.clone(),
    })?;
    let addr = shards.listen(addr)?.addr;
    Ok((shards, addr))
}

/// Serves until it is interrupted.
fn serve(addr: SocketAddr, options: ShardOptions) -> Result<(), Box<dyn Error>> {
    let (shards, addr) = open(addr, options)?;
    let count = shards.handle().shards().count();
    writeln!(io::stdout(), "listening on {addr} with {count} shards")?;
    shards.join()?;
    Ok(())
}

/// Every client sends one line, and receives the lines of all others.
fn demonstrate(options: ShardOptions) -> Result<(), Box<dyn Error>> {
    let (shards, addr) = open(SocketAddr::from(([127, 0, 0, 1], 0)), options)?;
    let handle = shards.handle();
    let clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| TcpStream::connect(addr))
        .collect::<io::Result<_>>()?;
    let end = Instant::now() + PATIENCE;
    let known = |room: &mut Room, _: &mut Net| room.people.len();
    while handle.ask_all(known)?.iter().any(|known| *known < CLIENTS) {
        if Instant::now() > end {
            return Err("some clients are missing".into());
        }
        thread::yield_now();
    }
    let counts = handle.ask_all(|_, net| net.connection_count())?;
    writeln!(io::stdout(), "people on each shard: {counts:?}")?;
    for (number, mut client) in clients.iter().enumerate() {
        writeln!(client, "this is client {number}")?;
    }
    let mut received = 0;
    for client in &clients {
        client.set_read_timeout(Some(PATIENCE))?;
        for line in BufReader::new(client).lines().take(CLIENTS - 1) {
            line?;
            received += 1;
        }
    }
    let traffic = handle.traffic()?;
    writeln!(
        io::stdout(),
        "{} lines were sent, and received {received} times",
        traffic.messages_received
    )?;
    drop(clients);
    handle.shutdown(Duration::from_secs(1));
    shards.join()?;
    Ok(())
}

fn run() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::{Long, Short, Value, ValueExt};

    let (mut addr, mut options) = (None, ShardOptions::default());
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) if addr.is_none() => addr = Some(word.parse::<SocketAddr>()?),
            Long("shards") => options.shards = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(writeln!(io::stdout(), "{USAGE}")?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    match addr {
        Some(addr) => serve(addr, options),
        None => demonstrate(options),
    }
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shards: {error}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}
