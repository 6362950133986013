//! A room for talking, on as many threads as there are cores: what one says, all others hear, on whichever shard they are.
//!
//! ```text
//! cargo run --release --example shards                          # a demonstration that ends by itself
//! cargo run --release --example shards 127.0.0.1:4000           # a server; talk in it with `nc 127.0.0.1 4000`
//! cargo run --release --example shards 127.0.0.1:4000 --shards 4
//! ```
//!
//! A message is a line. Every shard has a `Room` of its own that knows all people, since it is told by the others who comes
//! and who goes; so nothing is locked, and a line is framed once, however many hear it.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use peerloop::{
    Config, ConnId, ConnMap, DisconnectReason, Framing, Handler, Net, ShardOptions, Shards,
    ShardsHandle,
};

const USAGE: &str = "usage: shards [ADDRESS:PORT] [--shards NUMBER]";

/// People in the demonstration.
const GUESTS: usize = 8;

/// How long anything may take in it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one shard knows.
struct Room {
    /// The people on all shards.
    people: ConnMap<()>,
    all: ShardsHandle<Self>,
}

impl Handler for Room {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        // This shard hears of it in the same way. One that takes nothing at the moment would not know the newcomer.
        let told = self.all.post_all(move |room, _| {
            room.people.insert(conn, ());
        });
        if told.is_err() {
            net.close(conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, line: &[u8]) {
        let others = self.people.keys().filter(|other| *other != conn);
        let outcome = net.broadcast(others, line);
        log::debug!("{conn}: {outcome:?}");
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
        // A shard that is not told keeps an id that reaches nobody.
        let _ = self.all.post_all(move |room, _| {
            room.people.remove(conn);
        });
    }
}

fn open(addr: SocketAddr, options: ShardOptions) -> io::Result<(Shards<Room>, SocketAddr)> {
    let config = Config {
        name: "room".to_owned(),
        framing: Framing::Delimited(b'\n'),
        max_frame: 1000,
        ..Config::default()
    };
    let shards = Shards::start(config, options, |_, all| Room {
        people: ConnMap::new(),
        all: all.clone(),
    })?;
    let addr = shards.listen(addr)?;
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

/// Everybody says one line, and hears those of all others.
fn demonstrate(options: ShardOptions) -> Result<(), Box<dyn Error>> {
    let (shards, addr) = open(SocketAddr::from(([127, 0, 0, 1], 0)), options)?;
    let handle = shards.handle();
    let guests: Vec<TcpStream> = (0..GUESTS)
        .map(|_| TcpStream::connect(addr))
        .collect::<io::Result<_>>()?;
    let end = Instant::now() + PATIENCE;
    let known = |room: &mut Room, _: &mut Net| room.people.len();
    while handle.ask_all(known)?.iter().any(|known| *known < GUESTS) {
        if Instant::now() > end {
            return Err("not everybody came in".into());
        }
        thread::yield_now();
    }
    let counts = handle.ask_all(|_, net| net.connection_count())?;
    writeln!(io::stdout(), "people on each shard: {counts:?}")?;
    for (number, mut guest) in guests.iter().enumerate() {
        writeln!(guest, "this is guest {number}")?;
    }
    let mut heard = 0;
    for guest in &guests {
        guest.set_read_timeout(Some(PATIENCE))?;
        for line in BufReader::new(guest).lines().take(GUESTS - 1) {
            line?;
            heard += 1;
        }
    }
    let stats = handle.stats()?;
    writeln!(
        io::stdout(),
        "{} lines were said, and heard {heard} times",
        stats.messages_received
    )?;
    drop(guests);
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
