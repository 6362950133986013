//! The texts of errors and alerts of rustls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::util::session_end::{SessionEnd, exchange};
use crate::util::tls::{ONLY_13, client, configs, ends, server};
use peerloop::error::SessionError::{self, Failed, Malformed, Refused, RefusedByPeer};
use peerloop::tls;
use peerloop::tls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use peerloop::tls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use peerloop::tls::rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerIncompatible, PeerMisbehaved,
    SignatureScheme,
};

/// Accepts every certificate, or fails with an error.
#[derive(Default, Debug)]
pub(super) struct Verifier {
    error: Option<Error>,
    /// The number of certificates.
    pub(super) asked: AtomicUsize,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let accepted = ServerCertVerified::assertion();
        self.error.clone().map_or(Ok(accepted), Err)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = tls::provider().signature_verification_algorithms;
        known.supported_schemes()
    }
}

/// Returns the error of a client whose verifier fails with an error.
fn error_of_client(error: Error) -> SessionError {
    let (mut there, here) = configs(ONLY_13);
    let verifier = Verifier {
        error: Some(error),
        ..Verifier::default()
    };
    let mut dangerous = Arc::make_mut(&mut there).dangerous();
    dangerous.set_certificate_verifier(Arc::new(verifier));
    let mut a = SessionEnd::new(client(&there));
    let mut b = SessionEnd::new(server(&here));
    exchange(&mut a, &mut b).expect_err("the error of the verifier")
}

#[test]
fn error_of_rustls_has_kind_and_text() {
    use CertificateError as C;
    for (error, text) in [
        (C::Expired, "its certificate has expired"),
        (C::NotValidYet, "its certificate is not valid yet"),
        (C::Revoked, "its certificate is revoked"),
        (C::NotValidForName, "its certificate is for another name"),
        (C::InvalidPurpose, "its certificate is for another purpose"),
        (C::BadSignature, "a signature is wrong"),
        (C::BadEncoding, "its certificate cannot be read"),
        (
            C::UnknownRevocationStatus,
            "the revocation status of its certificate is unknown",
        ),
        (
            C::ApplicationVerificationFailure,
            "the verifier does not accept its certificate",
        ),
    ] {
        let error = error_of_client(Error::InvalidCertificate(error));
        assert_eq!(error, Refused(text));
    }
    use PeerIncompatible as P;
    for (lack, text) in [
        (P::NoCipherSuitesInCommon, "no cipher suite in common"),
        (P::NoKxGroupsInCommon, "no key exchange group in common"),
        (
            P::NoSignatureSchemesInCommon,
            "no signature scheme in common",
        ),
        (
            P::IncorrectCertificateTypeExtension,
            "no certificate type in common",
        ),
        (
            P::ExtendedMasterSecretExtensionRequired,
            "a required extension of TLS is missing",
        ),
    ] {
        let error = error_of_client(Error::PeerIncompatible(lack));
        assert_eq!(error, Refused(text));
    }
    for (error, expected) in [
        (
            Error::PeerMisbehaved(PeerMisbehaved::TooManyKeyUpdateRequests),
            Malformed("a violation of the TLS protocol"),
        ),
        (
            Error::FailedToGetCurrentTime,
            Failed("the system clock cannot be read"),
        ),
        (
            Error::FailedToGetRandomBytes,
            Failed("the system has no random bytes"),
        ),
        (
            Error::HandshakeNotComplete,
            Failed("an internal error of rustls"),
        ),
    ] {
        assert_eq!(error_of_client(error), expected);
    }
}

/// The codes are from RFC 8446, appendix B.2.
#[test]
fn alert_of_the_peer_has_its_text() {
    for (code, text) in [
        (10, "unexpected message"),
        (20, "a record that it cannot decrypt"),
        (22, "a record that is too long"),
        (40, "handshake failure"),
        (42, "bad certificate"),
        (43, "unsupported certificate"),
        (44, "certificate revoked"),
        (45, "certificate expired"),
        (46, "certificate unknown"),
        (47, "illegal parameter"),
        (48, "unknown authority"),
        (49, "access denied"),
        (50, "a message that it cannot decode"),
        (51, "a signature that it cannot verify"),
        (70, "no TLS version in common"),
        (71, "insufficient security"),
        (80, "internal error"),
        (86, "inappropriate fallback"),
        (100, "no renegotiation"),
        (109, "a missing or unsupported extension"),
        (112, "unrecognised name"),
        (115, "unknown pre-shared key"),
        (116, "certificate required"),
        (120, "no application protocol in common"),
        (250, "another alert"),
    ] {
        let [mut client, _] = ends(ONLY_13);
        let alert = client.receive(&[21, 3, 3, 0, 2, 2, code]);
        assert_eq!(alert, Err(RefusedByPeer(text)), "{code}");
    }
}
