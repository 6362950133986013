//! Connecting and disconnecting.

use peerloop::ConnInfo;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use peerloop::{ConnId, ConnectError, DisconnectReason, Handler, Net, Node};

use super::{Running, config};
use crate::job::{Job, PATIENCE, Value, failed, in_time};

/// Closes every connection when it is established, and connects again when it has
/// ended.
struct Cycler {
    addr: SocketAddr,
    left: u64,
    failure: Option<String>,
}

impl Cycler {
    fn connect(&mut self, net: &mut Net) {
        if let Err(error) = net.connect(self.addr) {
            self.failure = Some(format!("connecting: {error}"));
        }
    }
}

impl Handler for Cycler {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        net.close(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.failure = Some(format!("connecting: {error}"));
    }

    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, reason: DisconnectReason) {
        if reason != DisconnectReason::Local {
            self.failure = Some(format!("an end: {reason}"));
        }
        self.left -= 1;
        if self.left > 0 {
            self.connect(net);
        }
    }
}

/// The node that is connected to.
struct Host;

impl Handler for Host {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

struct Cycles {
    cycler: Node<Cycler>,
    host: Running<Host>,
    accepted: u64,
}

impl Job for Cycles {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let begun = Instant::now();
        self.cycler.handler_mut().left = amount;
        let addr = self.host.addr;
        self.cycler.net().connect(addr).map_err(io::Error::other)?;
        while self.cycler.handler().left > 0 {
            let _ = self.cycler.turn(Some(PATIENCE))?;
            in_time(begun, "the cycles")?;
            if let Some(failure) = self.cycler.handler_mut().failure.take() {
                return Err(failed(failure));
            }
        }
        self.accepted += amount;
        let accepted = self.host.handle.ask(|_, net| net.metrics().accepted)?;
        if accepted != self.accepted {
            return Err(failed(format!(
                "{accepted} inbound, {} outbound",
                self.accepted
            )));
        }
        Ok(Vec::new())
    }
}

/// `amount` connections, one after the other, each closed by the end that connected
/// and ended by both sides.
pub fn cycles() -> io::Result<Box<dyn Job>> {
    let host = Running::new(config(), Host)?;
    let cycler = Cycler {
        addr: host.addr,
        left: 0,
        failure: None,
    };
    Ok(Box::new(Cycles {
        cycler: Node::new(config(), cycler)?,
        host,
        accepted: 0,
    }))
}
