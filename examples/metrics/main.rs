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
#[path = "../support/mod.rs"]
mod support;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use lexopt::prelude::ValueExt;
use peerloop::{Config, Node};

use service::Service;
use support::{Arguments, Outcome};

const USAGE: &str = "usage: metrics [ECHO_ADDRESS:PORT [HTTP_ADDRESS:PORT]]";

fn run(arguments: Arguments) -> Outcome {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (echo, http) = match arguments.words.as_slice() {
        [] => (any, any),
        [echo] => (echo.parse()?, any),
        [echo, http] => (echo.parse()?, http.parse()?),
        _ => return Err(USAGE.into()),
    };
    let mut node = Node::new(Config::default(), Service::default())?;
    let failed = |addr| move |error: io::Error| format!("listening on {addr}: {error}");
    let echo = node.net().listen(echo).map_err(failed(echo))?;
    let listening = node.with(|service, net| service.listen(net, http));
    let http = listening.map_err(failed(http))?;
    writeln!(io::stdout(), "echo on {echo}")?;
    writeln!(io::stdout(), "metrics on {http}")?;
    Ok(node.run()?)
}

fn main() -> ExitCode {
    support::run(("metrics", USAGE), &[], run)
}
