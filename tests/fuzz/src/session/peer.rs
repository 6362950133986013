//! The genuine peer: a session without a network.

use std::io::IoSlice;

use peerloop::session::{Output, Session, Stage};

pub(super) struct Peer {
    session: Box<dyn Session>,
    /// Bytes that arrived and that the session has not taken.
    rest: Vec<u8>,
    plaintext: Vec<u8>,
    wire: Vec<u8>,
    sent: Vec<Vec<u8>>,
    has_failed: bool,
    close_notify: Option<Vec<u8>>,
}

impl Peer {
    pub(super) fn new(mut session: Box<dyn Session>) -> Self {
        let mut wire = Vec::new();
        session.start(&mut wire).expect("it can start");
        Self {
            session,
            rest: Vec::new(),
            plaintext: Vec::new(),
            wire,
            sent: Vec::new(),
            has_failed: false,
            close_notify: None,
        }
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.rest.extend(bytes);
        if bytes.is_empty() || self.has_failed || self.session.stage() == Stage::Finished {
            return;
        }
        let mut output = Output::new(&mut self.plaintext, &mut self.wire);
        match self.session.receive(&mut self.rest, &mut output) {
            Ok(taken) => drop(self.rest.drain(..taken)),
            Err(_) => self.has_failed = true,
        }
    }

    /// Returns whether the peer can send a message.
    pub(super) fn is_established(&self) -> bool {
        let is_established = matches!(self.session.stage(), Stage::Established | Stage::Finished);
        is_established && !self.has_failed && self.close_notify.is_none()
    }

    /// Sends the next message: the four bytes of its number, and `len` more.
    /// Returns whether it could be sent.
    pub(super) fn send(&mut self, len: usize) -> bool {
        if !self.is_established() {
            return false;
        }
        let number = self.sent.len() as u32;
        let mut body = number.to_be_bytes().to_vec();
        body.resize(4 + len, number as u8);
        let frame = [&(body.len() as u32).to_be_bytes(), &body[..]].concat();
        self.session
            .seal(&[IoSlice::new(&frame)], &mut self.wire)
            .expect("it is established");
        self.sent.push(body);
        true
    }

    pub(super) fn send_close_notify(&mut self) {
        if self.is_established() {
            let before = self.wire.len();
            self.session.close_notify(&mut self.wire);
            self.close_notify = Some(self.wire[before..].to_vec());
        }
    }

    pub(super) fn has_sent_close_notify(&self) -> bool {
        self.close_notify.is_some()
    }

    /// Returns the bytes of its close notification.
    pub(super) fn close_notify(&self) -> Option<&[u8]> {
        self.close_notify.as_deref()
    }

    /// Returns the output since the last call.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.wire)
    }

    /// Returns the bodies of all sent messages.
    pub(super) fn sent(&self) -> &[Vec<u8>] {
        &self.sent
    }

    /// Returns whether the close notification of the node has arrived.
    pub(super) fn has_received_close_notify(&self) -> bool {
        self.session.stage() == Stage::Finished
    }

    /// Returns the plaintext that was received.
    pub(super) fn plaintext(&self) -> &[u8] {
        &self.plaintext
    }
}
