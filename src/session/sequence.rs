//! One session after another on the same connection.

use std::fmt;
use std::io::IoSlice;

use super::{Identity, Output, Session, Stage};
use crate::error::SessionError;

/// Two sessions, one after the other: a version exchange, then a cipher. Longer rows are sequences of sequences.
///
/// The first one has to become [`Stage::Transparent`]; from then on everything is the second one's, bytes included that came
/// with the end of the first. [`ConnEntry::identity`](crate::Peer::identity) has what the second one proved, and what the first
/// one did where the second is silent.
///
/// Both are made before anything is heard. Where the second one depends on what the first finds out, a key or a prologue for
/// instance, write a [`Session`] that makes it when it is time, and hands everything on to it.
///
/// ```
/// # use peerloop::session::{Output, Sequence, Session, Stage};
/// # use peerloop::SessionError;
/// # struct Version;
/// # impl Session for Version {
/// #     fn receive(&mut self, _: &[u8], _: &mut Output<'_>) -> Result<usize, SessionError> { Ok(0) }
/// #     fn stage(&self) -> Stage { Stage::Transparent }
/// # }
/// # type Cipher = Version;
/// fn session() -> Box<dyn Session> {
///     Box::new(Sequence::new(Version, Cipher {}))
/// }
/// # assert_eq!(session().stage(), Stage::Handshaking);
/// ```
pub struct Sequence<A, B> {
    first: A,
    second: B,
    /// The first one is transparent and the second one has started.
    turned: bool,
}

impl<A: Session, B: Session> Sequence<A, B> {
    /// A session that is `first` until that is transparent, and then `second`.
    pub fn new(first: A, second: B) -> Self {
        Self {
            first,
            second,
            turned: false,
        }
    }

    /// Goes over to the second session once the first one has done its part.
    fn turn(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        match self.first.stage() {
            Stage::Transparent => {
                self.turned = true;
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
        self.turn(wire)
    }

    fn receive(&mut self, bytes: &[u8], output: &mut Output<'_>) -> Result<usize, SessionError> {
        let mut taken = 0;
        if !self.turned {
            taken = self.first.receive(bytes, output)?;
            self.turn(output.wire)?;
        }
        let rest = bytes.get(taken..).unwrap_or_default();
        // What the second one would say to nothing at all, it has said in `start`.
        if self.turned && !rest.is_empty() {
            taken += self.second.receive(rest, output)?;
        }
        Ok(taken)
    }

    fn stage(&self) -> Stage {
        if self.turned {
            self.second.stage()
        } else {
            Stage::Handshaking
        }
    }

    fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        self.second.seal(plaintext, wire)
    }

    fn goodbye(&mut self, wire: &mut Vec<u8>) {
        self.second.goodbye(wire);
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        if self.turned {
            self.second.wire_ended()
        } else {
            self.first.wire_ended()
        }
    }

    fn identity(&self) -> Option<Identity> {
        let (Some(earlier), Some(later)) = (self.first.identity(), self.second.identity()) else {
            return self.second.identity().or_else(|| self.first.identity());
        };
        Some(Identity {
            public_key: later.public_key.or(earlier.public_key),
            certificates: if later.certificates.is_empty() {
                earlier.certificates
            } else {
                later.certificates
            },
            name: later.name.or(earlier.name),
            requested_name: later.requested_name.or(earlier.requested_name),
            protocol: later.protocol.or(earlier.protocol),
            payload: if later.payload.is_empty() {
                earlier.payload
            } else {
                later.payload
            },
        })
    }
}

impl<A, B> fmt::Debug for Sequence<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequence")
            .field("turned", &self.turned)
            .finish_non_exhaustive()
    }
}
