//! The session of one end of a TLS connection.

use std::fmt;
use std::io::{self, BufRead, IoSlice, Read, Write};

use rustls::Connection;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use super::reason::reason;
use super::record;
use crate::error::SessionError;
use crate::session::{Identity, Output, Session, Stage};

/// Maximum number of bytes that rustls keeps of the input it has taken: one
/// handshake message of 64 KiB.
const HELD_MAX: usize = 64 * 1024;

/// A TLS [`Session`]. [`client`](super::client) and [`server`](super::server)
/// return it.
pub struct Tls {
    connection: Connection,
    /// On the client, the requested server name.
    requested_name: Option<String>,
    peer_closed: bool,
    /// A FIN between two records ends the stream without an error.
    allow_missing_close_notify: bool,
    /// The last byte that arrived is within a record.
    is_within_record: bool,
    /// Number of bytes passed to rustls since it last answered or returned
    /// plaintext. It bounds the length of the incomplete handshake message that
    /// rustls keeps.
    unanswered: usize,
}

impl Tls {
    /// Accepts a FIN between two records as the end of the stream, although no
    /// close_notify came before it.
    ///
    /// Default: such an end is [`SessionError::Truncated`], and the messages
    /// that are queued for the peer are dropped. With this setting the end is
    /// handled like that of plain TCP: queued answers are sent, and the reason
    /// is
    /// [`DisconnectReason::PeerClosed`](crate::DisconnectReason::PeerClosed). A
    /// FIN within a record is still [`SessionError::Truncated`].
    ///
    /// Anyone on the path can forge a FIN. Allow it only if the messages
    /// themselves show that they are complete, for instance because each
    /// request has a length, and if the absence of later messages does no harm
    /// (RFC 8446, section 6.1).
    #[must_use]
    pub fn allow_missing_close_notify(mut self) -> Self {
        self.allow_missing_close_notify = true;
        self
    }

    pub(super) fn new(mut connection: Connection, requested_name: Option<String>) -> Self {
        // The loop bounds its batches. A limit here would split them.
        connection.set_buffer_limit(None);
        Self {
            connection,
            requested_name,
            peer_closed: false,
            allow_missing_close_notify: false,
            is_within_record: false,
            unanswered: 0,
        }
    }

    /// Passes complete records to rustls. The plaintext is fetched after each
    /// step, because rustls keeps only a little of it.
    fn take(&mut self, mut bytes: &[u8], plaintext: &mut Vec<u8>) -> Result<(), SessionError> {
        let mut unwritten = 0;
        while !bytes.is_empty() && !self.peer_closed {
            // Reading from a slice does not fail, so the error is the limit of
            // rustls on incomplete messages.
            let was_handshaking = self.connection.is_handshaking();
            let read = self
                .connection
                .read_tls(&mut bytes)
                .map_err(|_| SessionError::Malformed("a handshake message that is too long"))?;
            let processed = self.connection.process_new_packets();
            // Plaintext that came before a failure is delivered.
            let has_plaintext = self.fetch(plaintext);
            let state = processed.map_err(|error| {
                log::debug!(target: "peerloop", "tls: {error}");
                reason(&error)
            })?;
            self.peer_closed = state.peer_has_closed();
            // A message with an answer is complete, and no application data
            // comes within a message (RFC 8446, section 5.1).
            let has_answered = has_plaintext
                || state.tls_bytes_to_write() > unwritten
                || was_handshaking && !self.connection.is_handshaking();
            unwritten = state.tls_bytes_to_write();
            self.unanswered = if has_answered {
                0
            } else {
                self.unanswered + read
            };
        }
        Ok(())
    }

    /// Makes rustls release its buffer for a long record, up to 18 KiB. rustls
    /// does so before it reads.
    fn shrink(&mut self) {
        // The reader would block. An end of the stream would be remembered by
        // rustls.
        let _ = self.connection.read_tls(&mut Nothing);
    }

    /// Moves the plaintext out of rustls. Returns whether there was any.
    fn fetch(&mut self, plaintext: &mut Vec<u8>) -> bool {
        let before = plaintext.len();
        let mut reader = self.connection.reader();
        while let Ok(chunk @ [_, ..]) = reader.fill_buf() {
            plaintext.extend_from_slice(chunk);
            let len = chunk.len();
            reader.consume(len);
        }
        plaintext.len() > before
    }

    /// Moves the output of rustls to `wire`.
    fn write_out(&mut self, wire: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // A write to a vector takes all bytes.
            if self.connection.write_tls(wire).is_err() {
                return;
            }
        }
    }
}

impl Session for Tls {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        self.write_out(wire);
        Ok(())
    }

    fn receive(&mut self, wire: &mut [u8], out: &mut Output<'_>) -> Result<usize, SessionError> {
        // Incomplete records stay with the loop, because the loop needs no more
        // memory than has arrived, and has a timeout for the rest.
        let whole = record::whole(wire);
        self.is_within_record = whole < wire.len();
        let result = self.take(&wire[..whole], out.plaintext);
        self.write_out(out.wire);
        self.shrink();
        result.map(|()| whole)
    }

    fn stage(&self) -> Stage {
        if self.connection.is_handshaking() {
            Stage::Handshaking
        } else if self.peer_closed {
            Stage::Finished
        } else {
            Stage::Established
        }
    }

    fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        let len: usize = plaintext.iter().map(|slice| slice.len()).sum();
        let before = wire.len();
        let sealed = self.connection.writer().write_vectored(plaintext);
        self.write_out(wire);
        // When the keys of TLS 1.2 are exhausted, rustls takes the plaintext,
        // seals nothing and appends a close_notify alert. The peer must not
        // take that for a clean end.
        let added = &wire[before..];
        let is_whole = added.len() > len && record::are_application_data(added);
        if is_whole && sealed.is_ok_and(|sealed| sealed == len) {
            return Ok(());
        }
        wire.truncate(before);
        Err(SessionError::Failed("the keys are exhausted"))
    }

    fn close_notify(&mut self, wire: &mut Vec<u8>) {
        self.connection.send_close_notify();
        self.write_out(wire);
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        let is_accepted = self.allow_missing_close_notify && !self.is_within_record;
        // During the handshake no message was sent that could be truncated.
        if self.peer_closed || is_accepted || self.connection.is_handshaking() {
            Ok(())
        } else {
            Err(SessionError::Truncated)
        }
    }

    fn identity(&self) -> Option<Identity> {
        let certificates = self.connection.peer_certificates().unwrap_or_default();
        let requested_server_name = match &self.connection {
            Connection::Client(_) => self.requested_name.clone(),
            Connection::Server(server) => server.server_name().map(str::to_owned),
        };
        let identity = Identity {
            public_key: certificates.first().map(public_key),
            certificates: certificates.iter().map(|der| der.to_vec()).collect(),
            requested_server_name,
            protocol: self.connection.alpn_protocol().map(<[u8]>::to_vec),
            ..Identity::default()
        };
        (identity != Identity::default()).then_some(identity)
    }

    fn held_bytes(&self) -> usize {
        if self.peer_closed {
            0
        } else {
            self.unanswered.min(HELD_MAX)
        }
    }
}

/// A reader whose reads would block.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Returns the key of a certificate. Bytes that are not a certificate are a raw
/// public key (RFC 7250).
fn public_key(certificate: &CertificateDer<'_>) -> Vec<u8> {
    match ParsedCertificate::try_from(certificate) {
        Ok(parsed) => parsed.subject_public_key_info().to_vec(),
        Err(_) => certificate.to_vec(),
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("connection", &self.connection)
            .field("peer_closed", &self.peer_closed)
            .finish_non_exhaustive()
    }
}
