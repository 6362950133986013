//! One session after another one on the same connection.

use std::fmt;
use std::io::IoSlice;

use super::{Identity, Output, Session, Stage};
use crate::error::SessionError;

/// Two sessions, one after the other: for instance a version exchange and then
/// a cipher.
///
/// The first session must become [`Stage::Transparent`]. The bytes that follow
/// its handshake are passed to the second one, those included that arrived
/// together with its end. More than two sessions are sequences of sequences.
///
/// Each field of the [`Identity`] is that of the second session, or that of the
/// first one where the second leaves it empty.
///
/// Both sessions are created before anything has arrived. If the second one
/// depends on the result of the first, on a key for instance, write a
/// [`Session`] that creates it in time and forwards its methods.
///
/// ```
/// # use peerloop::session::{Output, Sequence, Session, Stage};
/// # use peerloop::error::SessionError;
/// # struct Version;
/// # impl Session for Version {
/// #     fn receive(&mut self, _: &mut [u8], _: &mut Output<'_>) -> Result<usize, SessionError> { Ok(0) }
/// #     fn stage(&self) -> Stage { Stage::Transparent }
/// # }
/// # type Cipher = Version;
/// fn session() -> impl Session {
///     Sequence::new(Version, Cipher {})
/// }
/// # assert_eq!(session().stage(), Stage::Handshaking);
/// ```
pub struct Sequence<A, B> {
    first: A,
    second: B,
    /// The first session is transparent, and the second one has started.
    is_second: bool,
}

impl<A: Session, B: Session> Sequence<A, B> {
    /// Returns a session that is `first` until that is transparent, and then
    /// `second`.
    pub fn new(first: A, second: B) -> Self {
        Self {
            first,
            second,
            is_second: false,
        }
    }

    /// Starts the second session if the first one is transparent.
    fn advance(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        match self.first.stage() {
            Stage::Transparent => {
                self.is_second = true;
                self.second.start(wire)
            }
            Stage::Handshaking => Ok(()),
            Stage::Established | Stage::Finished => Err(SessionError::Failed(
                "a session that is not the last of a sequence must become transparent",
            )),
        }
    }
}

impl<A: Session, B: Session> Session for Sequence<A, B> {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        self.first.start(wire)?;
        self.advance(wire)
    }

    fn receive(&mut self, wire: &mut [u8], out: &mut Output<'_>) -> Result<usize, SessionError> {
        let mut taken = 0;
        if !self.is_second {
            taken = self.first.receive(wire, out)?;
            self.advance(out.wire)?;
        }
        // A session that took more than there was is refused by the caller.
        let rest = wire.get_mut(taken..).unwrap_or_default();
        // Without bytes there is nothing to answer that `start` has not said.
        if self.is_second && !rest.is_empty() {
            taken += self.second.receive(rest, out)?;
        }
        Ok(taken)
    }

    fn stage(&self) -> Stage {
        if self.is_second {
            self.second.stage()
        } else {
            Stage::Handshaking
        }
    }

    fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        self.second.seal(plaintext, wire)
    }

    fn close_notify(&mut self, wire: &mut Vec<u8>) {
        self.second.close_notify(wire);
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        if self.is_second {
            self.second.wire_ended()
        } else {
            self.first.wire_ended()
        }
    }

    fn identity(&self) -> Option<Identity> {
        merge(self.first.identity(), self.second.identity())
    }

    fn take_identity(&mut self) -> Option<Identity> {
        merge(self.first.take_identity(), self.second.take_identity())
    }

    fn held_bytes(&self) -> usize {
        self.first.held_bytes() + self.second.held_bytes()
    }
}

/// Returns the later identity, with the fields of the earlier one where it has
/// none.
fn merge(earlier: Option<Identity>, later: Option<Identity>) -> Option<Identity> {
    let (earlier, later) = match (earlier, later) {
        (Some(earlier), Some(later)) => (earlier, later),
        (one, other) => return one.or(other),
    };
    Some(Identity {
        public_key: later.public_key.or(earlier.public_key),
        certificates: if later.certificates.is_empty() {
            earlier.certificates
        } else {
            later.certificates
        },
        requested_server_name: later
            .requested_server_name
            .or(earlier.requested_server_name),
        protocol: later.protocol.or(earlier.protocol),
        payload: if later.payload.is_empty() {
            earlier.payload
        } else {
            later.payload
        },
    })
}

impl<A, B> fmt::Debug for Sequence<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequence")
            .field("is_second", &self.is_second)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Transparent from the start, and holds bytes.
    struct Holder(usize);

    impl Session for Holder {
        fn receive(&mut self, _: &mut [u8], _: &mut Output<'_>) -> Result<usize, SessionError> {
            Ok(0)
        }

        fn stage(&self) -> Stage {
            Stage::Transparent
        }

        fn take_identity(&mut self) -> Option<Identity> {
            let payload = vec![1; std::mem::take(&mut self.0)];
            Some(Identity {
                payload,
                ..Identity::default()
            })
        }

        fn held_bytes(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn what_both_sessions_hold_is_counted_and_taken_once() {
        let mut session: Box<dyn Session> = Box::new(Sequence::new(Holder(3), Holder(0)));
        assert_eq!(session.held_bytes(), 3);
        let payload = |identity: Option<Identity>| identity.expect("there is one").payload;
        assert_eq!(payload(session.take_identity()), [1; 3]);
        assert_eq!(payload(session.take_identity()), []);
        assert_eq!(session.held_bytes(), 0);
        let both = Sequence::new(Holder(3), Sequence::new(Holder(4), Holder(5)));
        assert_eq!(both.held_bytes(), 12);
    }
}
