//! A boxed session is a session.

use std::io::IoSlice;
use std::time::Duration;

use super::{Identity, Output, Session, Stage};
use crate::error::SessionError;

impl<S: Session + ?Sized> Session for Box<S> {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        (**self).start(wire)
    }

    fn receive(&mut self, wire: &mut [u8], out: &mut Output<'_>) -> Result<usize, SessionError> {
        (**self).receive(wire, out)
    }

    fn stage(&self) -> Stage {
        (**self).stage()
    }

    fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        (**self).seal(plaintext, wire)
    }

    fn close_notify(&mut self, wire: &mut Vec<u8>) {
        (**self).close_notify(wire);
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        (**self).wire_ended()
    }

    fn timeout(&self) -> Option<Duration> {
        (**self).timeout()
    }

    fn on_timeout(&mut self, out: &mut Output<'_>) -> Result<(), SessionError> {
        (**self).on_timeout(out)
    }

    fn on_wake(&mut self, out: &mut Output<'_>) -> Result<(), SessionError> {
        (**self).on_wake(out)
    }

    fn identity(&self) -> Option<Identity> {
        (**self).identity()
    }

    fn take_identity(&mut self) -> Option<Identity> {
        (**self).take_identity()
    }

    fn held_bytes(&self) -> usize {
        (**self).held_bytes()
    }
}
