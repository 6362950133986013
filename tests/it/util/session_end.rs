//! One end of a session without a network.

use std::io::IoSlice;

use peerloop::error::SessionError;
use peerloop::session::{Output, Session, Stage};

use super::frame;

pub struct SessionEnd<S> {
    pub session: S,
    /// Bytes that have arrived and were not taken.
    untaken: Vec<u8>,
    /// Output for the other end.
    pub wire: Vec<u8>,
    /// All plaintext that has arrived.
    pub plaintext: Vec<u8>,
}

impl<S: Session> SessionEnd<S> {
    pub fn new(mut session: S) -> Self {
        let mut wire = Vec::new();
        session.start(&mut wire).expect("a session that starts");
        Self {
            session,
            untaken: Vec::new(),
            wire,
            plaintext: Vec::new(),
        }
    }

    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.untaken.extend_from_slice(bytes);
        let mut output = Output::new(&mut self.plaintext, &mut self.wire);
        let taken = self.session.receive(&mut self.untaken, &mut output)?;
        self.untaken.drain(..taken);
        Ok(())
    }

    pub fn take_wire(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.wire)
    }

    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.session
            .seal(&[IoSlice::new(plaintext)], &mut self.wire)
            .expect("an established session");
        self.take_wire()
    }

    /// Seals a frame with this body.
    pub fn frame(&mut self, body: &[u8]) -> Vec<u8> {
        self.seal(&frame(body))
    }

    pub fn close_notify(&mut self) -> Vec<u8> {
        self.session.close_notify(&mut self.wire);
        self.take_wire()
    }

    pub fn stage(&self) -> Stage {
        self.session.stage()
    }
}

/// Passes output between two ends until no output is left.
pub fn exchange<A: Session, B: Session>(
    a: &mut SessionEnd<A>,
    b: &mut SessionEnd<B>,
) -> Result<(), SessionError> {
    while !a.wire.is_empty() || !b.wire.is_empty() {
        b.receive(&a.take_wire())?;
        a.receive(&b.take_wire())?;
    }
    Ok(())
}

/// Passes the output of one end to another, byte by byte. The stream may end before
/// each byte: that is a truncation once the handshake has completed.
#[track_caller]
fn pass_bytes<A: Session, B: Session>(from: &mut SessionEnd<A>, to: &mut SessionEnd<B>) {
    for byte in from.take_wire() {
        let expected = match to.stage() {
            Stage::Established => Err(SessionError::Truncated),
            _ => Ok(()),
        };
        assert_eq!(to.session.wire_ended(), expected);
        to.receive(&[byte]).expect("a correct byte");
    }
}

/// Asserts that two ends need no more than one byte at a time, from the handshake to
/// the close notification.
#[track_caller]
pub fn assert_works_by_bytes<A: Session, B: Session>(mut a: SessionEnd<A>, mut b: SessionEnd<B>) {
    while !a.wire.is_empty() || !b.wire.is_empty() {
        pass_bytes(&mut a, &mut b);
        pass_bytes(&mut b, &mut a);
    }
    assert_eq!([a.stage(), b.stage()], [Stage::Established; 2]);
    let (one, two) = ([7; 30_000], [8; 40_000]);
    let slices = [&one[..], &two].map(IoSlice::new);
    a.session.seal(&slices, &mut a.wire).expect("a sealed form");
    pass_bytes(&mut a, &mut b);
    assert!(b.plaintext == [&one[..], &two].concat());
    a.wire = a.close_notify();
    pass_bytes(&mut a, &mut b);
    assert_eq!(b.stage(), Stage::Finished);
    assert_eq!(b.session.wire_ended(), Ok(()));
}
