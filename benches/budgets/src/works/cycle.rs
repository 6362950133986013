//! Connecting and closing: two nodes, each in its own thread.

use std::error::Error;
use std::net::SocketAddr;

use peerloop::{Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node};

use super::PATIENCE;

struct Server;

impl Handler for Server {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Closes each connection when it is open, and connects again when it has
/// ended.
struct Client {
    addr: SocketAddr,
    left: u64,
    has_failed: bool,
}

impl Client {
    fn connect(&mut self, net: &mut Net) {
        self.has_failed |= net.connect(self.addr).is_err();
    }
}

impl Handler for Client {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        net.close(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo, _: ConnectError) {
        self.has_failed = true;
    }

    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, _: DisconnectReason) {
        self.left -= 1;
        if self.left > 0 {
            self.connect(net);
        }
    }
}

pub(crate) fn cycle(cycles: u64) -> Result<(), Box<dyn Error>> {
    let mut server = Node::new(Config::default(), Server)?;
    let addr = server.net().listen("127.0.0.1:0")?.addr;
    let server = server.spawn()?;
    let client = Client {
        addr,
        left: cycles,
        has_failed: false,
    };
    let mut client = Node::new(Config::default(), client)?;
    client.with(Client::connect);
    let end = client.run_until(PATIENCE, |client, _| client.left == 0 || client.has_failed)?;
    drop(server);
    if client.handler().left > 0 {
        return Err(format!("{end:?}: {} cycles are left", client.handler().left).into());
    }
    Ok(())
}
