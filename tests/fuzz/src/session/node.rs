//! The node whose session is tested. It stores the messages and the outcome.

use std::error::Error;

use peerloop::{ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Transport};

use super::kinds::Kind;
use super::watched::Watched;

pub(super) struct Node {
    kind: Kind,
    open: Option<ConnId>,
    pub(super) connected: usize,
    pub(super) messages: Vec<Vec<u8>>,
    pub(super) failed: Vec<ConnectError>,
    pub(super) ended: Vec<DisconnectReason>,
    /// The bytes that it has sent, framing included.
    pub(super) sent: Vec<u8>,
}

impl Node {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            open: None,
            connected: 0,
            messages: Vec::new(),
            failed: Vec::new(),
            ended: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Returns the connection, if it is open.
    pub(super) fn open(&self) -> Option<ConnId> {
        self.open
    }

    pub(super) fn send(&mut self, net: &mut Net, conn: ConnId) {
        let body = (self.sent.len() as u32).to_be_bytes();
        if net.send(conn, &body).is_ok() {
            self.sent.extend((body.len() as u32).to_be_bytes());
            self.sent.extend(body);
        }
    }
}

impl Handler for Node {
    fn on_start(&mut self, net: &mut Net) {
        net.listen("0.0.0.0:7000").expect("the port is free");
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(Watched::new(self.kind.session(info.direction)).into())
    }

    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.open = Some(conn);
        self.connected += 1;
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
        self.messages.push(message.to_vec());
    }

    fn on_read_closed(&mut self, net: &mut Net, conn: ConnId) {
        net.close(conn);
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.failed.push(error);
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.open = None;
        self.ended.push(reason);
    }
}
