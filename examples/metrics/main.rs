//! An echo service, and an HTTP/1.1 server beside it for its counters.
//!
//! ```text
//! cargo run --example metrics 127.0.0.1:4000 127.0.0.1:9100
//! curl http://127.0.0.1:9100/metrics
//! curl --data 'some text' http://127.0.0.1:9100/echo
//! ```
//!
//! Two listeners share one loop, one thread and one handler, with a different
//! framing each. Without arguments the system chooses both ports. `README.md`
//! says what of HTTP is implemented.
//!
//! Read `service.rs` first: it answers requests. `http` has the protocol.

mod exposition;
mod http;
mod service;

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use peerloop::{Config, Node};

use service::Service;

const USAGE: &str = "usage: metrics [ECHO_ADDRESS:PORT [HTTP_ADDRESS:PORT]]";

fn serve(echo: SocketAddr, http: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut node = Node::new(Config::default(), Service::default())?;
    let failed = |addr| move |error: io::Error| format!("listening on {addr}: {error}");
    let echo = node.net().listen(echo).map_err(failed(echo))?;
    let listening = node.with(|service, net| service.listen(net, http));
    let http = listening.map_err(failed(http))?;
    writeln!(io::stdout(), "echo on {echo}")?;
    writeln!(io::stdout(), "metrics on {http}")?;
    Ok(node.run()?)
}

fn run() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::{Long, Short, Value, ValueExt};

    let mut addresses = Vec::new();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) => addresses.push(word.parse()?),
            Short('h') | Long("help") => return Ok(writeln!(io::stdout(), "{USAGE}")?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    match addresses[..] {
        [] => serve(any, any),
        [echo] => serve(echo, any),
        [echo, http] => serve(echo, http),
        _ => Err(USAGE.into()),
    }
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metrics: {error}");
            ExitCode::FAILURE
        }
    }
}
