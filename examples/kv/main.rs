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
use std::io::{Write, read_to_string, stdout};

use peerloop::shards::{ShardOptions, Shards};

const USAGE: &str = "usage: kv [serve ADDRESS:PORT] [--shards NUMBER]";

/// The commands of the demonstration, which are sent together.
const COMMANDS: &str = "SET greeting hello EX 60\nGET greeting\nTTL greeting\nINCR visits\nQUIT\n";

/// The answers, which arrive together.
const ANSWERS: &str = "+OK\r\n$5\r\nhello\r\n:60\r\n:1\r\n+OK\r\n";

fn run() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::{Long, Value, ValueExt};

    let (mut on, mut options) = (None, ShardOptions::default());
    options.shards = 1;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) if word == "serve" => on = Some(parser.value()?.string()?),
            Long("shards") => options.shards = parser.value()?.parse()?,
            _ => return Err(argument.unexpected().into()),
        }
    }
    let handler = server::Server::default();
    let shards = Shards::start(server::config(), options, |_, _| handler.clone())?;
    let addr = shards.listen(on.as_deref().unwrap_or("127.0.0.1:0"))?.addr;
    writeln!(stdout(), "listening on {addr}")?;
    if on.is_some() {
        return Ok(shards.join().map(drop)?);
    }
    // The demonstration. The shards end when `shards` is dropped.
    let mut client = std::net::TcpStream::connect(addr)?;
    client.write_all(COMMANDS.as_bytes())?;
    let answers = read_to_string(client)?;
    writeln!(stdout(), "{COMMANDS}\n{answers}")?;
    let is_right = (answers == ANSWERS).then_some(());
    Ok(is_right.ok_or("these are not the right answers")?)
}

fn main() {
    env_logger::init();
    if let Err(error) = run() {
        eprintln!("kv: {error}\n{USAGE}");
        std::process::exit(1);
    }
}
