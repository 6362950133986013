//! Connecting and closing: two nodes, each in its own thread.

use std::error::Error;
use std::net::SocketAddr;

use peerloop::{Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node};

use super::PATIENCE;

/// The end that closes each connection when it is open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    Connecting,
    Accepting,
}

struct Server {
    closing: Closing,
}

impl Handler for Server {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        if self.closing == Closing::Accepting {
            net.close(conn);
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Connects again when a connection has ended.
struct Client {
    addr: SocketAddr,
    closing: Closing,
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
        if self.closing == Closing::Connecting {
            net.close(conn);
        }
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

pub(crate) fn cycle(cycles: u64, closing: Closing) -> Result<(), Box<dyn Error>> {
    let mut server = Node::new(Config::default(), Server { closing })?;
    let addr = server.net().listen("127.0.0.1:0")?.addr;
    let server = server.spawn()?;
    let client = Client {
        addr,
        closing,
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
