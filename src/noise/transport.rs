//! After the handshake: messages that seal a stream of plaintext.

use std::io::IoSlice;

use snow::TransportState;

use super::Rekey;
use super::pattern::TAG_LEN;
use crate::error::SessionError;

/// The length before every Noise message on the wire, in bytes.
pub(super) const HEADER_LEN: usize = 2;

/// The longest Noise message, in bytes.
const MESSAGE_MAX: usize = 65_535;

/// The most plaintext that a message carries, in bytes.
pub(super) const PLAINTEXT_MAX: usize = MESSAGE_MAX - TAG_LEN;

/// Both directions of an established session.
pub(super) struct Transport {
    state: TransportState,
    sending: Meter,
    receiving: Meter,
}

/// What a piece of the wire brought.
pub(super) struct Opened {
    /// How many bytes of it are used up.
    pub(super) taken: usize,
    pub(super) is_over: bool,
}

impl Transport {
    pub(super) fn new(state: TransportState, rekey: Option<Rekey>) -> Self {
        Self {
            state,
            sending: Meter::new(rekey),
            receiving: Meter::new(rekey),
        }
    }

    /// Appends `plaintext` sealed, in as few messages as hold it.
    pub(super) fn seal(
        &mut self,
        plaintext: &[IoSlice<'_>],
        wire: &mut Vec<u8>,
    ) -> Result<(), SessionError> {
        let len = plaintext.iter().map(|part| part.len()).sum::<usize>();
        let sealed = wire.len()..wire.len() + sealed_len(len);
        if let [whole] = plaintext {
            wire.resize(sealed.end, 0);
            return self.seal_into(whole, &mut wire[sealed]);
        }
        // The parts are brought together behind the place of their sealed form: memory that is lent for the time being
        // and not the connection's own.
        wire.reserve(sealed.len() + len);
        wire.resize(sealed.end, 0);
        for part in plaintext {
            wire.extend_from_slice(part);
        }
        let (place, gathered) = wire[sealed.start..].split_at_mut(sealed.len());
        let result = self.seal_into(gathered, place);
        wire.truncate(sealed.end);
        result
    }

    /// Appends the goodbye: the one message without plaintext.
    pub(super) fn goodbye(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        let start = wire.len();
        wire.resize(start + HEADER_LEN + TAG_LEN, 0);
        self.seal_message(&[], &mut wire[start..])
    }

    /// Seals `plaintext` into a place of exactly the right size.
    fn seal_into(&mut self, plaintext: &[u8], place: &mut [u8]) -> Result<(), SessionError> {
        let places = place.chunks_mut(HEADER_LEN + MESSAGE_MAX);
        for (piece, place) in plaintext.chunks(PLAINTEXT_MAX).zip(places) {
            self.seal_message(piece, place)?;
        }
        Ok(())
    }

    fn seal_message(&mut self, plaintext: &[u8], place: &mut [u8]) -> Result<(), SessionError> {
        let (header, message) = place.split_at_mut(HEADER_LEN);
        let len = self
            .state
            .write_message(plaintext, message)
            .map_err(|_| SessionError::Failed("the cipher is used up"))?;
        debug_assert_eq!(len, message.len());
        header.copy_from_slice(&header_of(len));
        if self.sending.is_due_after(plaintext.len()) {
            self.state.rekey_outgoing();
        }
        Ok(())
    }

    /// Appends to `plaintext` what the whole messages at the start of `bytes` carry.
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
                // What comes behind a goodbye is not looked at, however it arrives.
                return Ok(Opened {
                    taken: bytes.len(),
                    is_over: true,
                });
            }
        }
        Ok(Opened {
            taken: bytes.len() - rest.len(),
            is_over: false,
        })
    }

    /// Appends the plaintext of a message; how long it is.
    fn open_message(
        &mut self,
        message: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<usize, SessionError> {
        let start = plaintext.len();
        // Room for the tag too: the cipher works in place there, and needs no memory of its own.
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

/// How long so much plaintext becomes.
fn sealed_len(len: usize) -> usize {
    len + len.div_ceil(PLAINTEXT_MAX) * (HEADER_LEN + TAG_LEN)
}

/// The header of a message of this length.
pub(super) fn header_of(len: usize) -> [u8; HEADER_LEN] {
    debug_assert!(len <= MESSAGE_MAX);
    (len as u16).to_be_bytes()
}

/// The length of the message at the start of `bytes`, and what follows its header.
pub(super) fn split_header(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (header, rest) = bytes.split_first_chunk()?;
    Some((usize::from(u16::from_be_bytes(*header)), rest))
}

/// Tells when one direction is to change its key.
struct Meter {
    rekey: Option<Rekey>,
    /// Messages, or bytes of plaintext, since it last did.
    count: u64,
}

impl Meter {
    fn new(rekey: Option<Rekey>) -> Self {
        Self { rekey, count: 0 }
    }

    /// Counts a message with so much plaintext.
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
