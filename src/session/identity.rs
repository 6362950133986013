//! Data about the peer that a session provides.

use super::PeerHello;

/// Data about the peer that the handshake of a session provides, and the
/// parameters that both ends agreed on.
///
/// The session decides which fields are set and what each of them proves. The
/// library cannot repeat the checks of a session or a certificate verifier, so
/// no field is named as if it were verified. The modules `noise`, `tls` and
/// [`hello`](crate::hello) document what their sessions prove, and when.
///
/// A session outside of this crate starts with [`Identity::default`], which is
/// empty, and sets the fields that it has.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub struct Identity {
    /// Public key that the peer presented, as the protocol encodes it. For
    /// Noise it is the 32 bytes of the static key, for TLS a
    /// `SubjectPublicKeyInfo` in DER. Default: `None`.
    pub public_key: Option<Vec<u8>>,
    /// Certificates that the peer presented, in DER, its own first. Default:
    /// empty.
    pub certificates: Vec<Vec<u8>>,
    /// Server name that the client requested. On the client it is the name that
    /// its session was created with, on the server the name that it received
    /// (TLS: SNI). Default: `None`.
    ///
    /// The peer need not have proved that the name is its own. On the client, a
    /// verifier that checks names has compared the certificate with it. On the
    /// server it proves nothing about the peer.
    pub requested_server_name: Option<String>,
    /// Application protocol that both ends agreed on (TLS: ALPN). Default:
    /// `None`.
    pub protocol: Option<Vec<u8>>,
    /// Payload that the peer sent in the handshake. Default: empty.
    pub payload: Vec<u8>,
    /// Hello that the peer sent, with the node id that it claims; see
    /// [`hello`](crate::hello). Default: `None`.
    pub hello: Option<Box<PeerHello>>,
}

impl Identity {
    /// Returns the memory that the identity takes, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        let parts = [
            self.public_key.as_ref(),
            self.protocol.as_ref(),
            Some(&self.payload),
        ];
        let parts = parts.into_iter().flatten().chain(&self.certificates);
        let name = self.requested_server_name.as_ref();
        let name = name.map_or(0, String::capacity);
        let hello = self.hello.as_ref().map_or(0, |hello| hello.held_bytes());
        size_of::<Self>() + name + hello + parts.map(Vec::capacity).sum::<usize>()
    }
}
