//! Listeners behind a proxy: the PROXY header.

mod bad_headers;
#[cfg(unix)]
mod haproxy;
mod headers;
mod limits;
mod self_connection;
mod shards;
#[cfg(feature = "sim")]
mod simulated;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use crate::util::{Recorder, TestNode, node, raw};
use peerloop::config::TrustedProxies;
use peerloop::{Config, ConnId, Net};

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The address that the clients of the proxy connect to.
fn service() -> SocketAddr {
    addr("198.51.100.1:443")
}

fn trusting(text: &str) -> Option<TrustedProxies> {
    Some(TrustedProxies::new([text.parse().expect("a network")]))
}

fn listen_at(net: &mut Net, at: &str, proxies: Option<TrustedProxies>) -> SocketAddr {
    let mut options = net.listen_options();
    options.proxy_protocol = proxies;
    let listening = net.listen_with(at, options);
    listening.expect("a listener").addr
}

/// On a port of the system's choice.
fn listen(net: &mut Net, proxies: Option<TrustedProxies>) -> SocketAddr {
    listen_at(net, "127.0.0.1:0", proxies)
}

/// A node that trusts proxies on this host.
fn behind(config: Config, handler: Recorder) -> (TestNode, SocketAddr) {
    let mut node = node(config, handler);
    let addr = listen(node.net(), trusting("127.0.0.1"));
    (node, addr)
}

/// Connects and writes these bytes at once.
fn connect(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut peer = raw::connect(addr);
    peer.write_all(bytes).expect("room");
    peer
}

/// As [`connect`]; the id that the node gave it as well.
fn join(node: &mut TestNode, addr: SocketAddr, bytes: &[u8]) -> (ConnId, TcpStream) {
    let peer = connect(addr, bytes);
    (raw::accepted(node), peer)
}
