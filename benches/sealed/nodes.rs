//! Nodes with a session on every connection.

use std::error::Error;
use std::io;
use std::sync::Arc;

use peerloop::{ConnId, ConnInfo, DisconnectReason, Handler, Net, Transport};

use super::security::Security;
use crate::support::Job;
use crate::support::messages::Goal;
use crate::support::nodes::{Running, Sink, Source};

/// A handler whose connections have sessions.
pub struct Secured<H> {
    inner: H,
    security: Security,
    /// Established connections are reset at once.
    is_resetting: bool,
    /// Number of connections that were established and have ended.
    pub ended: usize,
}

impl<H> Secured<H> {
    pub fn new(inner: H, security: &Security) -> Self {
        Self {
            inner,
            security: security.clone(),
            is_resetting: false,
            ended: 0,
        }
    }

    pub fn resetting(mut self) -> Self {
        self.is_resetting = true;
        self
    }
}

impl<H: Handler> Handler for Secured<H> {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(Transport::Session(self.security.session(info.direction)?))
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.inner.on_connect(net, conn);
        if self.is_resetting {
            net.abort(conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.inner.on_message(net, conn, message);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.inner.on_drain(net, conn);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.ended += 1;
        self.inner.on_disconnect(net, conn, reason);
    }
}

struct Stream {
    source: Running<Secured<Source>>,
    goal: Arc<Goal>,
    _sink: Running<Secured<Sink>>,
}

impl Job for Stream {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        self.goal.set(amount);
        let handle = &self.source.handle;
        handle.post(move |source, net| source.inner.begin(net, amount))?;
        self.goal.wait()
    }
}

/// Sends `amount` messages on one connection between two nodes.
pub fn stream(size: usize, security: &Security) -> io::Result<Box<dyn Job>> {
    let goal = Arc::new(Goal::new(size, 1));
    let sink = Running::new(Secured::new(Sink::new(&goal), security))?;
    let source = Running::new(Secured::new(Source::new(&goal), security))?;
    source.connect_to(&sink, 1)?;
    Ok(Box::new(Stream {
        source,
        goal,
        _sink: sink,
    }))
}
