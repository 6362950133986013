//! Two sessions, one after the other, on the same connection.

use std::fmt;
use std::io::IoSlice;
use std::time::Duration;

use super::{Identity, Output, Session, Stage};
use crate::error::SessionError;

/// Two sessions, one after the other: for instance a version exchange and then
/// a cipher.
///
/// The first session must become [`Stage::Transparent`]. If it becomes
/// [`Stage::Established`] or [`Stage::Finished`], the connection ends with
/// [`SessionError::Failed`]. The bytes after its handshake are passed to the
/// second session, also if they arrived together with the end of the
/// handshake. For more than two sessions, nest sequences.
///
/// Each field of the [`Identity`] is that of the second session, or that of the
/// first session where the second leaves the field empty.
///
/// Both sessions are created before any byte has arrived. If the second session
/// depends on the result of the first, for instance on a key, implement a
/// [`Session`] that creates it in time and forwards its methods.
///
/// ```
/// # use peerloop::session::{Output, Sequence, Session, Stage};
/// # use peerloop::error::SessionError;
/// # struct Version;
/// # impl Session for Version {
/// #     fn receive(
/// #         &mut self,
/// #         _: &mut [u8],
/// #         _: &mut Output<'_>,
/// #     ) -> Result<usize, SessionError> {
/// #         Ok(0)
/// #     }
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
    /// The first session is transparent, and the second session has started.
    is_second: bool,
    /// The timer of the first session, as the loop knew it before the latest
    /// call of that session.
    first_timeout: Option<Duration>,
}

impl<A: Session, B: Session> Sequence<A, B> {
    /// Returns a session that runs `first` until `first` is transparent, and
    /// then `second`.
    pub fn new(first: A, second: B) -> Self {
        Self {
            first,
            second,
            is_second: false,
            first_timeout: None,
        }
    }

    /// Calls the first session, and starts the second one if the first one is
    /// transparent then.
    fn call_first<R>(
        &mut self,
        out: &mut Output<'_>,
        call: impl FnOnce(&mut A, &mut Output<'_>) -> Result<R, SessionError>,
    ) -> Result<R, SessionError> {
        self.first_timeout = self.first.timeout();
        let result = call(&mut self.first, out)?;
        self.advance(out.wire)?;
        Ok(result)
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
            taken = self.call_first(out, |first, out| first.receive(wire, out))?;
        }
        // The caller checks `taken`, so a count that is too large only must not
        // panic here.
        let rest = wire.get_mut(taken..).unwrap_or_default();
        // Without bytes there is nothing to answer: `start` has appended the
        // first bytes.
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

    fn timeout(&self) -> Option<Duration> {
        if !self.is_second {
            return self.first.timeout();
        }
        // The loop does not restart its timer for the same duration, and the
        // timer of the first session may still run. Either session may be a
        // sequence that does the same.
        let nanosecond = Duration::from_nanos(1);
        let second = self.second.timeout()?.saturating_add(nanosecond);
        let is_same = self.first_timeout == Some(second);
        Some(second.saturating_add(nanosecond * u32::from(is_same)))
    }

    fn on_timeout(&mut self, out: &mut Output<'_>) -> Result<(), SessionError> {
        if self.is_second {
            return self.second.on_timeout(out);
        }
        self.call_first(out, |first, out| first.on_timeout(out))
    }

    fn on_wake(&mut self, out: &mut Output<'_>) -> Result<(), SessionError> {
        if self.is_second {
            return self.second.on_wake(out);
        }
        self.call_first(out, |first, out| first.on_wake(out))
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

/// Returns `later`, with the fields of `earlier` where `later` has none.
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
        hello: later.hello.or(earlier.hello),
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

    /// A session that is transparent from the start and holds bytes.
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
    fn sequence_of_two_counts_and_takes_both() {
        let mut session: Box<dyn Session> = Box::new(Sequence::new(Holder(3), Holder(0)));
        assert_eq!(session.held_bytes(), 3);
        let payload = |identity: Option<Identity>| identity.expect("there is one").payload;
        assert_eq!(payload(session.take_identity()), [1; 3]);
        assert_eq!(payload(session.take_identity()), []);
        assert_eq!(session.held_bytes(), 0);
        let both = Sequence::new(Holder(3), Sequence::new(Holder(4), Holder(5)));
        assert_eq!(both.held_bytes(), 12);
    }

    /// A session that takes one byte and has a timer until then.
    struct Timed(Option<Duration>);

    impl Session for Timed {
        fn receive(&mut self, _: &mut [u8], _: &mut Output<'_>) -> Result<usize, SessionError> {
            self.0 = None;
            Ok(1)
        }

        fn stage(&self) -> Stage {
            match self.0 {
                Some(_) => Stage::Handshaking,
                None => Stage::Transparent,
            }
        }

        fn timeout(&self) -> Option<Duration> {
            self.0
        }
    }

    /// The loop continues a timer while the duration is the same.
    #[test]
    fn second_session_has_a_timer_of_its_own() {
        let second = Duration::from_secs(1);
        let mut session = Sequence::new(Timed(Some(second)), Timed(Some(second)));
        let before = session.timeout();
        let (mut plaintext, mut wire) = (Vec::new(), Vec::new());
        let mut out = Output::new(&mut plaintext, &mut wire);
        assert_eq!(session.receive(&mut [1], &mut out), Ok(1));
        assert_eq!(before, Some(second));
        assert_eq!(session.timeout(), Some(second + Duration::from_nanos(1)));
    }

    #[test]
    fn merged_identity_has_the_later_fields() {
        let identity = |key: Option<u8>, certificate: Option<u8>, payload: &[u8]| Identity {
            public_key: key.map(|byte| vec![byte]),
            certificates: certificate.map(|byte| vec![byte]).into_iter().collect(),
            payload: payload.to_vec(),
            ..Identity::default()
        };
        let earlier = identity(Some(1), Some(1), b"earlier");
        let merged = merge(Some(earlier.clone()), Some(identity(Some(2), None, b"")));
        assert_eq!(merged, Some(identity(Some(2), Some(1), b"earlier")));
        let later = identity(None, Some(2), b"later");
        let merged = merge(Some(earlier), Some(later));
        assert_eq!(merged, Some(identity(Some(1), Some(2), b"later")));
    }

    #[test]
    fn timeouts_of_all_sessions_differ() {
        let timed = || Timed(Some(Duration::from_secs(5)));
        let right = Sequence::new(timed(), Sequence::new(timed(), timed()));
        let left = Sequence::new(Sequence::new(timed(), timed()), timed());
        let sessions: [Box<dyn Session>; 2] = [Box::new(right), Box::new(left)];
        for mut session in sessions {
            let (mut plaintext, mut wire) = (Vec::new(), Vec::new());
            let mut timeouts = vec![session.timeout()];
            for byte in 0..2 {
                let mut out = Output::new(&mut plaintext, &mut wire);
                let taken = session.receive(&mut [byte], &mut out);
                assert_eq!(taken, Ok(1));
                timeouts.push(session.timeout());
            }
            assert!(
                timeouts.windows(2).all(|two| two[0] != two[1]),
                "{timeouts:?}"
            );
        }
    }
}
