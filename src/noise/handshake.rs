//! The messages of a handshake, in turn.

use snow::{Error, HandshakeState, TransportState};

use super::pattern::{KEY_LEN, Pattern, TAG_LEN};
use super::transport::{HEADER_LEN, header_of, split_header};
use crate::error::SessionError;
use crate::session::Identity;
use crate::session::Role;

/// A handshake under way.
pub(super) struct Handshake {
    pub(super) state: HandshakeState,
    pub(super) pattern: Pattern,
    pub(super) role: Role,
    pub(super) has_psk: bool,
    /// The one key that the peer may have.
    pub(super) expected: Option<[u8; KEY_LEN]>,
    /// What this side says beside.
    pub(super) payload: Vec<u8>,
    /// The number of the message that comes next, from zero.
    pub(super) next: usize,
    /// What the peer said beside.
    pub(super) peer_payload: Vec<u8>,
}

impl Handshake {
    /// Appends the next message, if it is this side's.
    pub(super) fn write(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        if self.is_over() || !self.state.is_my_turn() {
            return Ok(());
        }
        let payload = if self.next == self.pattern.last_message(self.role) {
            self.payload.as_slice()
        } else {
            &[]
        };
        let start = wire.len();
        let len = self.pattern.message_len(self.next, self.has_psk) + payload.len();
        // snow wants room for a tag even where there is none.
        wire.resize(start + HEADER_LEN + len + TAG_LEN, 0);
        let (header, message) = wire[start..].split_at_mut(HEADER_LEN);
        let written = self.state.write_message(payload, message).map_err(failed)?;
        debug_assert_eq!(written, len);
        header.copy_from_slice(&header_of(written));
        wire.truncate(start + HEADER_LEN + written);
        self.next += 1;
        Ok(())
    }

    /// Takes the peer's next message from the start of `bytes`; how long it was, or zero if it is not whole yet.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<usize, SessionError> {
        let Some((len, body)) = split_header(bytes) else {
            return Ok(0);
        };
        // Refused on its header: what is no handshake at all need not arrive whole to be told apart.
        let bare = self.pattern.message_len(self.next, self.has_psk);
        let has_payload = self.next == self.pattern.last_message(!self.role);
        if len < bare || (len > bare && !has_payload) {
            return Err(SessionError::Malformed(
                "a handshake message of the wrong length",
            ));
        }
        let Some(message) = body.get(..len) else {
            return Ok(0);
        };
        let mut payload = vec![0; len];
        let said = self.state.read_message(message, &mut payload);
        payload.truncate(said.map_err(failed)?);
        self.check_key()?;
        if has_payload {
            self.peer_payload = payload;
        }
        self.next += 1;
        Ok(HEADER_LEN + len)
    }

    /// Refuses a peer with another key than the expected one, before anything is said to it that only that key's
    /// owner may know.
    fn check_key(&self) -> Result<(), SessionError> {
        match (self.state.get_remote_static(), self.expected) {
            (Some(key), Some(expected)) if key != expected => {
                Err(SessionError::Refused("another static key than expected"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.state.is_handshake_finished()
    }

    /// What comes after the handshake, and what it has shown about the peer.
    pub(super) fn finish(self) -> Result<(TransportState, Option<Identity>), SessionError> {
        let key = self.state.get_remote_static().map(<[u8]>::to_vec);
        let shown = key.is_some() || !self.peer_payload.is_empty();
        let identity = shown.then(|| Identity {
            public_key: key,
            payload: self.peer_payload,
            ..Identity::default()
        });
        let transport = self.state.into_transport_mode().map_err(failed)?;
        Ok((transport, identity))
    }
}

/// What an error of snow's means for the connection.
fn failed(error: Error) -> SessionError {
    match error {
        Error::Decrypt | Error::Dh | Error::Input => SessionError::Malformed(
            "a handshake message that is not authentic: another key, psk, prologue or pattern",
        ),
        Error::Rng => SessionError::Failed("the system gives no randomness"),
        _ => SessionError::Failed("the handshake came out of step"),
    }
}
