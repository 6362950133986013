//! Talks with a libp2p host over TCP: what it is, what it speaks, how far away it
//! is. README.md says more.
//!
//! ```text
//! cargo run                              two hosts in this process
//! cargo run -- listen 127.0.0.1:4001     prints its address, and waits for a peer
//! cargo run -- connect 127.0.0.1:4001
//! ```

use std::{env, error::Error, process::ExitCode};

use peerloop_libp2p::{host::Host, identity};

const USAGE: &str = "usage: libp2p [listen ADDR | connect ADDR[/p2p/PEERID]]";

/// Returns a host that listens, and its address with its peer id.
fn listen(addr: &str) -> Result<(peerloop::Node<Host>, String), Box<dyn Error>> {
    let mut node = Host::node(None)?;
    let id = identity::peer_id(&identity::public(&node.handler().identity));
    let addr = format!("{}/p2p/{id}", node.net().listen(addr)?);
    println!("listening on {addr}");
    Ok((node, addr))
}

/// Connects to a host, and talks with it.
fn connect(addr: &str) -> Result<(), Box<dyn Error>> {
    let (plain, id) = addr.split_once("/p2p/").unzip();
    let mut node = Host::node(id.map(str::to_owned))?;
    node.net().connect(plain.unwrap_or(addr))?;
    node.run()?;
    Ok(node.into_handler().outcome?)
}

/// Two hosts, one in a thread of its own.
fn both() -> Result<(), Box<dyn Error>> {
    let (node, addr) = listen("127.0.0.1:0")?;
    let listening = node.spawn()?;
    connect(&addr)?;
    Ok(listening.join()?.outcome?)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => both(),
        ["listen", addr] => listen(addr).and_then(|(mut node, _)| Ok(node.run()?)),
        ["connect", addr] => connect(addr),
        _ => Err(USAGE.into()),
    };
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("libp2p: {error}");
    ExitCode::FAILURE
}
