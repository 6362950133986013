//! Nodes of the benchmarks with a session on every connection.

use std::io;

use peerloop::session::Session;
use peerloop::{ConnId, Direction, DisconnectReason, Handler, Net, Peer};

use super::security::Security;

/// A handler whose connections are secured.
pub struct Secured<H> {
    pub inner: H,
    pub security: Security,
    /// Connections that were established.
    pub connected: Vec<ConnId>,
}

impl<H> Secured<H> {
    pub fn new(inner: H, security: Security) -> Self {
        Self {
            inner,
            security,
            connected: Vec::new(),
        }
    }
}

impl<H: Handler> Handler for Secured<H> {
    fn session(&mut self, net: &mut Net, conn: ConnId) -> io::Result<Option<Box<dyn Session>>> {
        let side = net
            .connection(conn)
            .map_or(Direction::Inbound, Peer::direction);
        self.security.session(side)
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.connected.push(conn);
        self.inner.on_connect(net, conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.inner.on_message(net, conn, message);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.inner.on_drain(net, conn);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.connected.retain(|other| *other != conn);
        self.inner.on_disconnect(net, conn, reason);
    }
}
