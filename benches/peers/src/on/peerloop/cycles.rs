//! Connecting and disconnecting.

use std::io;
use std::net::SocketAddr;

use peerloop::{ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node, RunEnd};

use crate::support::nodes::{Echo, Running, config};
use crate::support::{Job, PATIENCE, failed};

/// Closes each connection when it is established, and connects again when it
/// has ended.
struct Cycler {
    addr: SocketAddr,
    left: u64,
    failure: Option<io::Error>,
}

impl Cycler {
    fn connect(&mut self, net: &mut Net) {
        self.failure = net.connect(self.addr).err().map(io::Error::from);
    }
}

impl Handler for Cycler {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        net.close(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.failure = Some(error.into());
    }

    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, reason: DisconnectReason) {
        if reason != DisconnectReason::Local {
            self.failure = Some(failed(format!("an end: {reason}")));
        }
        self.left -= 1;
        if self.left > 0 {
            self.connect(net);
        }
    }
}

struct Cycles {
    cycler: Node<Cycler>,
    server: Running<Echo>,
    accepted: u64,
}

impl Job for Cycles {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        self.cycler.with(|cycler, net| {
            cycler.left = amount;
            cycler.connect(net);
        });
        let is_over =
            |cycler: &mut Cycler, _: &mut Net| cycler.left == 0 || cycler.failure.is_some();
        let end = self.cycler.run_until(PATIENCE, is_over)?;
        if let Some(failure) = self.cycler.handler_mut().failure.take() {
            return Err(failure);
        }
        self.accepted += amount;
        let accepted = self.server.handle.ask(|_, net| net.metrics().accepted)?;
        if end != RunEnd::Done || accepted != self.accepted {
            return Err(failed(format!("{end:?}, {accepted} inbound connections")));
        }
        Ok(())
    }
}

/// Makes `amount` connections, one after the other. Each is closed by the end
/// that connected, then by the other.
pub fn cycles() -> io::Result<Box<dyn Job>> {
    let server = Running::new(Echo)?;
    let cycler = Cycler {
        addr: server.addr,
        left: 0,
        failure: None,
    };
    Ok(Box::new(Cycles {
        cycler: Node::new(config(), cycler)?,
        server,
        accepted: 0,
    }))
}
