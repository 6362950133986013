//! Reading and writing the messages of a handshake.

use snow::{Error, HandshakeState, TransportState};

use super::pattern::{KEY_LEN, Pattern, TAG_LEN};
use super::transport::{HEADER_LEN, header_of, split_header};
use crate::error::SessionError;
use crate::session::Identity;
use crate::session::Role;

/// A handshake that has not completed.
pub(super) struct Handshake {
    pub(super) state: HandshakeState,
    pub(super) pattern: Pattern,
    pub(super) role: Role,
    pub(super) has_psk: bool,
    /// Static key that the peer must have.
    pub(super) expected_key: Option<[u8; KEY_LEN]>,
    /// Payload of this end.
    pub(super) payload: Vec<u8>,
    /// Maximum length of the peer's payload, in bytes.
    pub(super) max_payload: usize,
    /// Number of the next message, from zero.
    pub(super) next: usize,
    /// Payload of the peer.
    pub(super) peer_payload: Vec<u8>,
}

impl Handshake {
    /// Appends the next message if it is the turn of this end.
    pub(super) fn write(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        if self.is_complete() || !self.state.is_my_turn() {
            return Ok(());
        }
        let payload = if self.next == self.pattern.last_message(self.role) {
            self.payload.as_slice()
        } else {
            &[]
        };
        let start = wire.len();
        let len = self.pattern.message_len(self.next, self.has_psk) + payload.len();
        // snow requires room for a tag even in a message without one.
        wire.resize(start + HEADER_LEN + len + TAG_LEN, 0);
        let (header, message) = wire[start..].split_at_mut(HEADER_LEN);
        let written = self.state.write_message(payload, message).map_err(failed)?;
        debug_assert_eq!(written, len);
        header.copy_from_slice(&header_of(written));
        wire.truncate(start + HEADER_LEN + written);
        self.next += 1;
        Ok(())
    }

    /// Takes the next message of the peer from the start of `bytes`. Returns
    /// its length, or zero while it is incomplete.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<usize, SessionError> {
        let Some((len, body)) = split_header(bytes) else {
            return Ok(0);
        };
        // The length in the header is checked, so that a peer of another
        // protocol is refused before a whole message has arrived.
        let bare = self.pattern.message_len(self.next, self.has_psk);
        let has_payload = self.next == self.pattern.last_message(!self.role);
        if len < bare || (len > bare && !has_payload) {
            return Err(SessionError::Malformed(
                "a handshake message of the wrong length",
            ));
        }
        if len - bare > self.max_payload {
            return Err(SessionError::Refused(
                "a payload that is longer than `max_payload`",
            ));
        }
        let Some(message) = body.get(..len) else {
            return Ok(0);
        };
        let mut payload = vec![0; len];
        let payload_len = self.state.read_message(message, &mut payload);
        payload.truncate(payload_len.map_err(failed)?);
        self.check_key()?;
        if has_payload {
            // The payload is kept as long as the connection, and its buffer had
            // room for keys and tags.
            payload.shrink_to_fit();
            self.peer_payload = payload;
        }
        self.next += 1;
        Ok(HEADER_LEN + len)
    }

    /// Refuses a peer whose key is not the expected one. Called before this end
    /// sends anything that only the owner of that key may read.
    fn check_key(&self) -> Result<(), SessionError> {
        match (self.state.get_remote_static(), self.expected_key) {
            (Some(key), Some(expected)) if key != expected => {
                Err(SessionError::Refused("another static key than expected"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state.is_handshake_finished()
    }

    /// Returns the transport, and the data about the peer.
    pub(super) fn finish(self) -> Result<(TransportState, Option<Identity>), SessionError> {
        let key = self.state.get_remote_static().map(<[u8]>::to_vec);
        let is_known = key.is_some() || !self.peer_payload.is_empty();
        let identity = is_known.then(|| Identity {
            public_key: key,
            payload: self.peer_payload,
            ..Identity::default()
        });
        let transport = self.state.into_transport_mode().map_err(failed)?;
        Ok((transport, identity))
    }
}

/// Converts an error of snow during the handshake.
fn failed(error: Error) -> SessionError {
    match error {
        Error::Decrypt | Error::Dh | Error::Input => SessionError::Malformed(
            "a handshake message that is not authentic: another key, psk, prologue or pattern",
        ),
        Error::Rng => SessionError::Failed("the system has no random bytes"),
        _ => SessionError::Failed("the handshake is out of step"),
    }
}
