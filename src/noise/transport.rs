//! Sealing and opening messages after the handshake.

use std::io::IoSlice;

use snow::TransportState;

use super::Rekey;
use super::copy_distance::{COPY_GAP, PAGE, is_slow_copy};
use super::pattern::TAG_LEN;
use crate::error::SessionError;

/// Size of the length before each Noise message on the wire, in bytes.
pub(super) const HEADER_LEN: usize = 2;

/// Maximum length of a Noise message, in bytes.
const MESSAGE_MAX: usize = 65_535;

/// Maximum plaintext in a message, in bytes.
pub(super) const PLAINTEXT_MAX: usize = MESSAGE_MAX - TAG_LEN;

/// Both directions of an established session.
pub(super) struct NoiseTransport {
    state: TransportState,
    sending: RekeyCounter,
    receiving: RekeyCounter,
}

/// The result of [`NoiseTransport::open`].
pub(super) struct Opened {
    /// Number of bytes taken from the wire.
    pub(super) taken: usize,
    /// They included the close notification.
    pub(super) is_finished: bool,
}

impl NoiseTransport {
    pub(super) fn new(state: TransportState, rekey: Option<Rekey>) -> Self {
        Self {
            state,
            sending: RekeyCounter::new(rekey),
            receiving: RekeyCounter::new(rekey),
        }
    }

    /// Seals `plaintext` in as few messages as possible and appends them to
    /// `wire`.
    pub(super) fn seal(
        &mut self,
        plaintext: &[IoSlice<'_>],
        wire: &mut Vec<u8>,
    ) -> Result<(), SessionError> {
        let len = plaintext.iter().map(|part| part.len()).sum::<usize>();
        let sealed = wire.len()..wire.len() + sealed_len(len);
        wire.reserve(sealed.len());
        if let [whole] = plaintext {
            let to = wire.as_ptr() as usize + sealed.start;
            if len < PAGE || !is_slow_copy(whole.as_ptr() as usize, to) {
                wire.resize(sealed.end, 0);
                return self.seal_into(whole, &mut wire[sealed]);
            }
        }
        // The parts are gathered in `wire`, after the room for their sealed
        // form, so that no other memory is needed. snow copies them to the
        // room. That copy took 15 % of the time of a stream of 4 KiB while it
        // was slow, and takes 3 % otherwise.
        let mut gathered = sealed.end;
        if is_slow_copy(gathered, sealed.start) {
            gathered += COPY_GAP;
        }
        wire.reserve(gathered - sealed.start + len);
        wire.resize(gathered, 0);
        for part in plaintext {
            wire.extend_from_slice(part);
        }
        let (room, gathered) = wire.split_at_mut(gathered);
        let result = self.seal_into(gathered, &mut room[sealed.clone()]);
        wire.truncate(sealed.end);
        result
    }

    /// Appends the close notification, the only message without plaintext.
    pub(super) fn close_notify(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        let start = wire.len();
        wire.resize(start + HEADER_LEN + TAG_LEN, 0);
        self.seal_message(&[], &mut wire[start..])
    }

    /// Seals `plaintext` into `room`, whose length is exactly right.
    fn seal_into(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<(), SessionError> {
        let rooms = room.chunks_mut(HEADER_LEN + MESSAGE_MAX);
        for (piece, room) in plaintext.chunks(PLAINTEXT_MAX).zip(rooms) {
            self.seal_message(piece, room)?;
        }
        Ok(())
    }

    fn seal_message(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<(), SessionError> {
        let (header, message) = room.split_at_mut(HEADER_LEN);
        let len = self
            .state
            .write_message(plaintext, message)
            .map_err(|_| SessionError::Failed("the nonces of the cipher are exhausted"))?;
        debug_assert_eq!(len, message.len());
        header.copy_from_slice(&header_of(len));
        if self.sending.is_due_after(plaintext.len()) {
            self.state.rekey_outgoing();
        }
        Ok(())
    }

    /// Opens the complete messages at the start of `bytes` and appends their
    /// plaintext.
    pub(super) fn open(
        &mut self,
        bytes: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<Opened, SessionError> {
        let mut rest = bytes;
        plaintext.reserve(rest.len());
        while let Some((len, body)) = split_header(rest) {
            if len < TAG_LEN {
                return Err(SessionError::Malformed("a message shorter than its tag"));
            }
            let Some(message) = body.get(..len) else {
                break;
            };
            rest = &body[len..];
            if self.open_message(message, plaintext)? == 0 {
                // Bytes after the close notification are discarded.
                return Ok(Opened {
                    taken: bytes.len(),
                    is_finished: true,
                });
            }
        }
        Ok(Opened {
            taken: bytes.len() - rest.len(),
            is_finished: false,
        })
    }

    /// Opens one message and appends its plaintext. Returns the length of the
    /// plaintext.
    fn open_message(
        &mut self,
        message: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<usize, SessionError> {
        let start = plaintext.len();
        // With room for the tag snow needs no other buffer: it copies the
        // message there and opens it in place.
        plaintext.resize(start + message.len(), 0);
        let opened = self.state.read_message(message, &mut plaintext[start..]);
        let len = *opened.as_ref().unwrap_or(&0);
        plaintext.truncate(start + len);
        if opened.is_err() {
            return Err(SessionError::Malformed(
                "a message that is not authentic, or not the next",
            ));
        }
        if self.receiving.is_due_after(len) {
            self.state.rekey_incoming();
        }
        Ok(len)
    }
}

/// Returns the sealed length of `len` bytes of plaintext.
fn sealed_len(len: usize) -> usize {
    len + len.div_ceil(PLAINTEXT_MAX) * (HEADER_LEN + TAG_LEN)
}

/// Returns the header of a message of `len` bytes.
pub(super) fn header_of(len: usize) -> [u8; HEADER_LEN] {
    debug_assert!(len <= MESSAGE_MAX);
    (len as u16).to_be_bytes()
}

/// Returns the length of the message at the start of `bytes`, and the bytes
/// after its header.
pub(super) fn split_header(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (header, rest) = bytes.split_first_chunk()?;
    Some((usize::from(u16::from_be_bytes(*header)), rest))
}

/// Counter that determines when one direction changes its key.
struct RekeyCounter {
    rekey: Option<Rekey>,
    /// Number of messages, or of bytes of plaintext, since the last change.
    count: u64,
}

impl RekeyCounter {
    fn new(rekey: Option<Rekey>) -> Self {
        Self { rekey, count: 0 }
    }

    /// Counts a message with `plaintext` bytes. Returns whether the key changes
    /// after it.
    fn is_due_after(&mut self, plaintext: usize) -> bool {
        let (step, limit) = match self.rekey {
            None => return false,
            Some(Rekey::Messages(limit)) => (1, limit),
            Some(Rekey::Bytes(limit)) => (plaintext as u64, limit),
        };
        self.count = self.count.saturating_add(step);
        let is_due = self.count >= limit.get();
        if is_due {
            self.count = 0;
        }
        is_due
    }
}
