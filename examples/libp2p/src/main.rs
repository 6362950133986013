//! Identifies and pings a libp2p host over TCP. README.md says more.
//!
//! ```text
//! cargo run                              two hosts in this process
//! cargo run -- listen 127.0.0.1:4001     prints its address, and waits for a peer
//! cargo run -- connect 127.0.0.1:4001
//! ```

use std::{env, error::Error, process};

use peerloop_libp2p::{host::Host, identity};

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

/// Two hosts, one of them in a second thread.
fn both() -> Result<(), Box<dyn Error>> {
    let (node, addr) = listen("127.0.0.1:0")?;
    let listening = node.spawn()?;
    connect(&addr)?;
    Ok(listening.join()?.outcome?)
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => both(),
        ["listen", addr] => listen(addr).and_then(|(mut node, _)| Ok(node.run()?)),
        ["connect", addr] => connect(addr),
        _ => Err("usage: libp2p [listen ADDR | connect ADDR[/p2p/PEERID]]".into()),
    };
    if let Err(error) = result {
        eprintln!("libp2p: {error}");
        process::exit(1);
    }
}
