//! A key-value server with the Redis protocol.
//!
//! ```text
//! cargo run --release --example kv                                   # ends by itself
//! cargo run --release --example kv serve 127.0.0.1:6379 --shards 2   # a server
//! redis-cli set greeting hello ex 60
//! redis-benchmark -t get,set -P 16
//! ```

mod commands;
mod keys;
mod resp;
mod server;

use std::error::Error;
use std::io::{Read, Write, stdout};
use std::net::{SocketAddr, TcpStream};
use std::process::exit;
use std::time::Duration;

use peerloop::shards::{ShardOptions, Shards};
use server::Server;

const USAGE: &str = "usage: kv [serve ADDRESS:PORT] [--shards NUMBER]";

/// The commands of the demonstration, which are sent together.
const COMMANDS: &str = "SET greeting hello EX 60\nGET greeting\nTTL greeting\nINCR visits\nQUIT\n";

/// The answers, which arrive together.
const ANSWERS: &str = "+OK\r\n$5\r\nhello\r\n:60\r\n:1\r\n+OK\r\n";

fn demonstrate(addr: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut client = TcpStream::connect(addr)?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    client.write_all(COMMANDS.as_bytes())?;
    let mut answers = String::new();
    client.read_to_string(&mut answers)?;
    writeln!(stdout(), "{COMMANDS}\n{answers}")?;
    if answers != ANSWERS {
        return Err("these are not the right answers".into());
    }
    Ok(())
}

fn run() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::{Long, Value, ValueExt};

    let (mut addr, mut options) = (None, ShardOptions::default());
    options.shards = 1;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) if word == "serve" => addr = Some(parser.value()?.string()?),
            Long("shards") => options.shards = parser.value()?.parse()?,
            _ => return Err(argument.unexpected().into()),
        }
    }
    let server = Server::default();
    let shards = Shards::start(server::config(), options, |_, _| server.clone())?;
    let bound = shards
        .listen(addr.as_deref().unwrap_or("127.0.0.1:0"))?
        .addr;
    writeln!(stdout(), "listening on {bound}")?;
    if addr.is_none() {
        // Dropping `shards` ends them.
        return demonstrate(bound);
    }
    shards.join()?;
    Ok(())
}

fn main() {
    env_logger::init();
    if let Err(error) = run() {
        eprintln!("kv: {error}\n{USAGE}");
        exit(1);
    }
}
