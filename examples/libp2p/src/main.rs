//! Talks with a libp2p host over TCP: who it is, what it speaks, how far away it
//! is. README.md says more.
//!
//! ```text
//! cargo run                              two hosts in this process
//! cargo run -- listen 127.0.0.1:4001     prints its address, and waits for a peer
//! cargo run -- connect 127.0.0.1:4001
//! ```

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use peerloop::Node;
use peerloop_libp2p::host::{self, Host};
use peerloop_libp2p::identity::Keys;

const USAGE: &str = "\
usage: libp2p                             two hosts in this process
       libp2p listen ADDR                 a host that waits for a peer
       libp2p connect ADDR[/p2p/PEERID]   a host that connects, to this peer only";

type Anything = Result<(), Box<dyn Error>>;

/// Returns a host that listens.
fn listen(addr: &str) -> Result<(Node<Host>, SocketAddr, String), Box<dyn Error>> {
    let keys = Keys::generate()?;
    let id = keys.peer_id();
    let mut node = Node::new(host::config(), Host::new(keys, None))?;
    let addr = node.net().listen(addr)?.addr;
    println!("listening on {addr}/p2p/{id}");
    Ok((node, addr, id))
}

/// Connects to a host, and talks with it.
fn connect(addr: &str, id: Option<&str>) -> Anything {
    let id = id.map(str::to_owned);
    let mut node = Node::new(host::config(), Host::new(Keys::generate()?, id))?;
    node.net().connect(addr)?;
    node.run()?;
    Ok(node.into_handler().outcome?)
}

/// Two hosts in this process: one waits in a thread, one connects.
fn both() -> Anything {
    let (node, addr, id) = listen("127.0.0.1:0")?;
    let listening = node.spawn()?;
    connect(&addr.to_string(), Some(&id))?;
    Ok(listening.join()?.outcome?)
}

fn run(arguments: &[&str]) -> Anything {
    match arguments {
        [] => both(),
        ["listen", addr] => {
            let (mut node, ..) = listen(addr)?;
            node.run()?;
            Ok(())
        }
        ["connect", addr] => match addr.split_once("/p2p/") {
            Some((addr, id)) => connect(addr, Some(id)),
            None => connect(addr, None),
        },
        _ => Err(USAGE.into()),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("libp2p: {error}");
            ExitCode::FAILURE
        }
    }
}
