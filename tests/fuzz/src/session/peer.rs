//! The genuine peer: a session without a network.

use std::io::IoSlice;

use peerloop::session::{Output, Session, Stage};

pub(super) struct Peer {
    session: Box<dyn Session>,
    /// Heard and not taken yet.
    rest: Vec<u8>,
    plaintext: Vec<u8>,
    wire: Vec<u8>,
    sent: Vec<Vec<u8>>,
    has_failed: bool,
    goodbye: Option<Vec<u8>>,
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
            goodbye: None,
        }
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) {
        self.rest.extend(bytes);
        if bytes.is_empty() || self.has_failed || self.session.stage() == Stage::Finished {
            return;
        }
        let mut output = Output {
            plaintext: &mut self.plaintext,
            wire: &mut self.wire,
        };
        match self.session.receive(&self.rest, &mut output) {
            Ok(taken) => drop(self.rest.drain(..taken)),
            Err(_) => self.has_failed = true,
        }
    }

    /// Can say something.
    pub(super) fn is_established(&self) -> bool {
        let is_established = matches!(self.session.stage(), Stage::Established | Stage::Finished);
        is_established && !self.has_failed && self.goodbye.is_none()
    }

    /// Says the next message, of this length and the four bytes of its number, if it can.
    pub(super) fn say(&mut self, len: usize) -> bool {
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

    pub(super) fn say_goodbye(&mut self) {
        if self.is_established() {
            let before = self.wire.len();
            self.session.goodbye(&mut self.wire);
            self.goodbye = Some(self.wire[before..].to_vec());
        }
    }

    pub(super) fn has_said_goodbye(&self) -> bool {
        self.goodbye.is_some()
    }

    /// The bytes of its goodbye.
    pub(super) fn goodbye(&self) -> Option<&[u8]> {
        self.goodbye.as_deref()
    }

    /// What it has said since the last time.
    pub(super) fn said(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.wire)
    }

    /// The bodies of all messages that it has said.
    pub(super) fn sent(&self) -> &[Vec<u8>] {
        &self.sent
    }

    /// The node has said goodbye.
    pub(super) fn has_heard_goodbye(&self) -> bool {
        self.session.stage() == Stage::Finished
    }

    /// What it has understood.
    pub(super) fn plaintext(&self) -> &[u8] {
        &self.plaintext
    }
}
