//! One end of a TLS connection, as a session.

use std::fmt;
use std::io::{self, BufRead, IoSlice, Read, Write};

use rustls::Connection;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use super::reason::reason;
use super::record;
use crate::error::SessionError;
use crate::session::{Identity, Output, Session, Stage};

/// One end of a TLS connection; made by [`client`](super::client) and [`server`](super::server), and given to the loop
/// by [`Handler::session`](crate::Handler::session).
pub struct Tls {
    connection: Connection,
    /// The name that the client has verified.
    verified: Option<String>,
    peer_closed: bool,
}

impl Tls {
    pub(super) fn new(mut connection: Connection, verified: Option<String>) -> Self {
        // The loop bounds what it has sealed at once; a limit here would cut batches in two.
        connection.set_buffer_limit(None);
        Self {
            connection,
            verified,
            peer_closed: false,
        }
    }

    /// Takes whole records. The plaintext is fetched after each step: rustls keeps a little of it only.
    fn take(&mut self, mut bytes: &[u8], plaintext: &mut Vec<u8>) -> Result<(), SessionError> {
        while !bytes.is_empty() && !self.peer_closed {
            // The only error of a slice is rustls's own bound on what may be incomplete.
            self.connection
                .read_tls(&mut bytes)
                .map_err(|_| SessionError::Malformed("a handshake message that is too long"))?;
            let processed = self.connection.process_new_packets();
            // Also what came before a failure.
            self.fetch(plaintext);
            self.peer_closed = processed
                .map_err(|error| {
                    log::debug!(target: "peerloop", "tls: {error}");
                    reason(&error)
                })?
                .peer_has_closed();
        }
        Ok(())
    }

    /// Has rustls give back the room for a long record, up to 18 KiB of it. It does so before a read of its own.
    fn shrink(&mut self) {
        // It has nothing for it: no end of the stream, which rustls would remember.
        let _ = self.connection.read_tls(&mut Nothing);
    }

    fn fetch(&mut self, plaintext: &mut Vec<u8>) {
        let mut reader = self.connection.reader();
        while let Ok(chunk @ [_, ..]) = reader.fill_buf() {
            plaintext.extend_from_slice(chunk);
            let len = chunk.len();
            reader.consume(len);
        }
    }

    /// Moves what rustls has to say to `wire`.
    fn speak(&mut self, wire: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // A vector takes everything.
            if self.connection.write_tls(wire).is_err() {
                return;
            }
        }
    }
}

impl Session for Tls {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        self.speak(wire);
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8], output: &mut Output<'_>) -> Result<usize, SessionError> {
        // The loop keeps the beginning of a record, in as little memory as came of it, and has a deadline for its end.
        let whole = record::whole(bytes);
        let result = self.take(&bytes[..whole], output.plaintext);
        self.speak(output.wire);
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
        self.speak(wire);
        // At the end of a cipher's life rustls takes the plaintext and seals nothing of it.
        match sealed {
            Ok(sealed) if sealed == len && wire.len() - before > len => Ok(()),
            _ => Err(SessionError::Failed("the keys are used up")),
        }
    }

    fn goodbye(&mut self, wire: &mut Vec<u8>) {
        self.connection.send_close_notify();
        self.speak(wire);
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        // During the handshake nothing has been said that could have been cut off.
        if self.peer_closed || self.connection.is_handshaking() {
            Ok(())
        } else {
            Err(SessionError::Truncated)
        }
    }

    fn identity(&self) -> Option<Identity> {
        let certificates = self.connection.peer_certificates().unwrap_or_default();
        let requested_name = match &self.connection {
            Connection::Client(_) => None,
            Connection::Server(server) => server.server_name().map(str::to_owned),
        };
        let identity = Identity {
            public_key: certificates.first().map(public_key),
            certificates: certificates.iter().map(|der| der.to_vec()).collect(),
            name: self.verified.clone(),
            requested_name,
            protocol: self.connection.alpn_protocol().map(<[u8]>::to_vec),
            payload: Vec::new(),
        };
        (identity != Identity::default()).then_some(identity)
    }
}

/// A reader that has nothing for the time being.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// The key of a certificate; one that is none is a raw public key (RFC 7250).
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
