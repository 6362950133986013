//! The knowledge of a session about the peer.

/// The data about the peer that a session has after the handshake, and what
/// both ends agreed on.
///
/// The session decides which fields are set and what each of them proves. The
/// library cannot know what a session or a certificate verifier has checked, so
/// no field says that something was verified. The modules `noise` and `tls` say
/// what their sessions prove, and when.
///
/// A session outside of this crate begins with [`Identity::default`], which is
/// empty, and sets what it knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub struct Identity {
    /// The public key that the peer presented, as the protocol encodes it: for
    /// Noise the 32 bytes of its static key, for TLS a `SubjectPublicKeyInfo`
    /// in DER.
    pub public_key: Option<Vec<u8>>,
    /// The certificates that the peer presented, in DER, its own first.
    pub certificates: Vec<Vec<u8>>,
    /// The server name that the client asked for: on the client the name that
    /// it was created with, on the server the name that it received (TLS: SNI).
    ///
    /// It is the name that was asked for, not a name that the peer proved to
    /// have. On the client, a verifier that checks names has compared the
    /// certificate with it; on the server it proves nothing about the peer.
    pub requested_server_name: Option<String>,
    /// The application protocol that both ends agreed on (TLS: ALPN).
    pub protocol: Option<Vec<u8>>,
    /// The payload that the peer sent in the handshake.
    pub payload: Vec<u8>,
}

impl Identity {
    /// Returns the memory that its parts take, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        let parts = [
            self.public_key.as_ref(),
            self.protocol.as_ref(),
            Some(&self.payload),
        ];
        let parts = parts.into_iter().flatten().chain(&self.certificates);
        let name = self.requested_server_name.as_ref();
        let name = name.map_or(0, String::capacity);
        size_of::<Self>() + name + parts.map(Vec::capacity).sum::<usize>()
    }
}
