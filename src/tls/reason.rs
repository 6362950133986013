//! Conversion of the errors of rustls to session errors.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use crate::error::SessionError;

/// Returns the session error for an error of rustls.
pub(super) fn reason(error: &Error) -> SessionError {
    use SessionError::{Failed, Malformed, Refused, RefusedByPeer};
    match error {
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => Malformed("not a TLS record"),
        Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge,
        ) => Malformed("a handshake message that is too long"),
        Error::PeerSentOversizedRecord | Error::InvalidMessage(InvalidMessage::MessageTooLarge) => {
            Malformed("a record that is too long")
        }
        Error::InvalidMessage(_) => Malformed("an invalid TLS message"),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            Malformed("a TLS message out of order")
        }
        Error::DecryptError => Malformed("a record that does not decrypt"),
        Error::PeerMisbehaved(_) => Malformed("a violation of the TLS protocol"),
        Error::AlertReceived(alert) => RefusedByPeer(alert_text(*alert)),
        Error::InvalidCertificate(error) => Refused(certificate_text(error)),
        Error::NoCertificatesPresented => Refused("it has no certificate"),
        Error::NoApplicationProtocol => Refused("no application protocol in common"),
        Error::PeerIncompatible(lack) => Refused(lack_text(lack)),
        Error::InvalidEncryptedClientHello(_) => Refused("the encrypted client hello"),
        Error::FailedToGetCurrentTime => Failed("the system clock cannot be read"),
        Error::FailedToGetRandomBytes => Failed("the system has no random bytes"),
        Error::UnsupportedNameType => Failed("the verifier does not support this kind of name"),
        _ => Failed("an internal error of rustls"),
    }
}

fn certificate_text(error: &CertificateError) -> &'static str {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => "its certificate has expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "its certificate is not valid yet",
        E::Revoked => "its certificate is revoked",
        E::UnknownIssuer => "its certificate is from an unknown authority",
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "its certificate is for another name"
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "its certificate is for another purpose"
        }
        E::BadSignature => "a signature is wrong",
        E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "a signature is of an unknown kind"
        }
        E::BadEncoding | E::UnhandledCriticalExtension => "its certificate cannot be read",
        E::UnknownRevocationStatus
        | E::ExpiredRevocationList
        | E::ExpiredRevocationListContext { .. }
        | E::InvalidOcspResponse => "the revocation status of its certificate is unknown",
        _ => "the verifier does not accept its certificate",
    }
}

fn lack_text(lack: &PeerIncompatible) -> &'static str {
    use PeerIncompatible as L;
    match lack {
        L::ServerDoesNotSupportTls12Or13
        | L::ServerTlsVersionIsDisabledByOurConfig
        | L::SupportedVersionsExtensionRequired
        | L::Tls12NotOffered
        | L::Tls12NotOfferedOrEnabled => "no TLS version in common",
        L::NoCipherSuitesInCommon => "no cipher suite in common",
        L::NoKxGroupsInCommon => "no key exchange group in common",
        L::NoSignatureSchemesInCommon | L::NoCertificateRequestSignatureSchemesInCommon => {
            "no signature scheme in common"
        }
        L::IncorrectCertificateTypeExtension | L::UnsolicitedCertificateTypeExtension => {
            "no certificate type in common"
        }
        _ => "a required extension of TLS is missing",
    }
}

fn alert_text(alert: AlertDescription) -> &'static str {
    use AlertDescription as A;
    match alert {
        A::BadCertificate => "bad certificate",
        A::UnsupportedCertificate => "unsupported certificate",
        A::CertificateRevoked => "certificate revoked",
        A::CertificateExpired => "certificate expired",
        A::CertificateUnknown => "certificate unknown",
        A::NoCertificate | A::CertificateRequired => "certificate required",
        A::UnknownCA => "unknown authority",
        A::AccessDenied => "access denied",
        A::HandshakeFailure => "handshake failure",
        A::ProtocolVersion => "no TLS version in common",
        A::InsufficientSecurity => "insufficient security",
        A::NoApplicationProtocol => "no application protocol in common",
        A::UnrecognisedName => "unrecognised name",
        A::UnknownPSKIdentity => "unknown pre-shared key",
        A::MissingExtension | A::UnsupportedExtension => "a missing or unsupported extension",
        A::NoRenegotiation => "no renegotiation",
        A::InappropriateFallback => "inappropriate fallback",
        A::UserCanceled => "cancelled by its user",
        A::UnexpectedMessage => "unexpected message",
        A::IllegalParameter => "illegal parameter",
        A::DecodeError => "a message that it cannot decode",
        A::BadRecordMac | A::DecryptionFailed => "a record that it cannot decrypt",
        A::DecryptError => "a signature that it cannot verify",
        A::RecordOverflow => "a record that is too long",
        A::InternalError => "internal error",
        _ => "another alert",
    }
}
