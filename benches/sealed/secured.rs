//! Nodes of the benchmarks with a session on every connection.

use peerloop::{ConnId, ConnInfo, DisconnectReason, Handler, Net, Transport};
use std::error::Error;

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
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(match self.security.session(info.direction)? {
            Some(session) => Transport::Session(session),
            None => Transport::Plain,
        })
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
