//! The settings of a session.

use std::fmt;
use std::io;

use snow::Builder;
use snow::params::NoiseParams;

use super::handshake::Handshake;
use super::key::StaticKey;
use super::noise_session::NoiseSession;
use super::pattern::{Cipher, Hash, KEY_LEN, Pattern, Static};
use super::resolver::Resolver;
use super::{MAX_PAYLOAD_DEFAULT, PAYLOAD_MAX, Rekey};
use crate::session::Role;

/// The settings of a [`NoiseSession`].
///
/// Both ends must have the same settings, except for their keys, payloads,
/// maximum payloads, and [`Noise::allow_missing_close_notify`].
///
/// `Debug` does not print secrets. The [module](super) documents the wire
/// format.
#[derive(Clone)]
#[must_use = "a session exists only after `build`"]
pub struct Noise<'a> {
    pattern: Pattern,
    role: Role,
    cipher: Cipher,
    hash: Hash,
    local_key: Option<&'a StaticKey>,
    remote_key: Option<&'a [u8; KEY_LEN]>,
    psks: Vec<(u8, &'a [u8; KEY_LEN])>,
    prologue: &'a [u8],
    payload: &'a [u8],
    max_payload: usize,
    rekey: Option<Rekey>,
    allow_missing_close_notify: bool,
}

impl<'a> Noise<'a> {
    /// Returns the settings of a session with this pattern and role.
    ///
    /// Pass the direction of the connection as the role, unless both ends
    /// opened it: see [`Role`].
    pub fn new(pattern: Pattern, role: impl Into<Role>) -> Self {
        Self {
            pattern,
            role: role.into(),
            cipher: Cipher::default(),
            hash: Hash::default(),
            local_key: None,
            remote_key: None,
            psks: Vec::new(),
            prologue: &[],
            payload: &[],
            max_payload: MAX_PAYLOAD_DEFAULT,
            rekey: None,
            allow_missing_close_notify: false,
        }
    }

    /// Sets the cipher. Default: ChaCha20-Poly1305.
    pub fn cipher(mut self, cipher: Cipher) -> Self {
        self.cipher = cipher;
        self
    }

    /// Sets the hash. Default: BLAKE2s.
    pub fn hash(mut self, hash: Hash) -> Self {
        self.hash = hash;
        self
    }

    /// Sets the static key pair of this node. Ignored if this end has no key in
    /// the pattern. Default: none.
    pub fn local_key(mut self, key: &'a StaticKey) -> Self {
        self.local_key = Some(key);
        self
    }

    /// Sets the public key that the peer must have. Default: none.
    ///
    /// Required by patterns in which the key is known beforehand. In patterns
    /// in which the peer sends its key, a peer that sends another key is
    /// [refused](crate::error::SessionError::Refused) at once.
    pub fn remote_key(mut self, key: &'a [u8; KEY_LEN]) -> Self {
        self.remote_key = Some(key);
        self
    }

    /// Adds a pre-shared key at this position. Default: none.
    ///
    /// Position 0 is before the first message, position n after message n.
    /// `Noise::new(Pattern::XX, role).psk(3, secret)` is XXpsk3.
    pub fn psk(mut self, position: u8, secret: &'a [u8; KEY_LEN]) -> Self {
        self.psks.push((position, secret));
        self
    }

    /// Sets the prologue: data that both ends must have and do not send, for
    /// instance the name of the network. If it differs, the handshake fails. It
    /// may have any length. Default: empty.
    pub fn prologue(mut self, prologue: &'a [u8]) -> Self {
        self.prologue = prologue;
        self
    }

    /// Sets the payload of this end's last handshake message. Its length is at
    /// most [`PAYLOAD_MAX`] bytes, or [`Noise::build`] fails. Default: empty.
    ///
    /// The peer refuses a payload that is longer than its own
    /// [`Noise::max_payload`].
    ///
    /// The peer gets it in
    /// [`Identity::payload`](crate::session::Identity::payload). In NN, NX, KN,
    /// KX, IN, IX, NK1, KK1 and IK1 the payload of the initiator is not
    /// encrypted, because it is in the first message, before a secret is
    /// shared. A psk at position 0 or 1 encrypts it.
    pub fn payload(mut self, payload: &'a [u8]) -> Self {
        self.payload = payload;
        self
    }

    /// Sets the maximum length of the peer's payload, in bytes. A maximum above
    /// [`PAYLOAD_MAX`] makes [`Noise::build`] fail. Default: 1,024 bytes.
    ///
    /// A peer that announces a longer payload is
    /// [refused](crate::error::SessionError::Refused) before the payload has
    /// arrived. The payload is kept in
    /// [`Identity::payload`](crate::session::Identity::payload) until the
    /// connection ends, so each idle peer may cost this much memory.
    pub fn max_payload(mut self, max: usize) -> Self {
        self.max_payload = max;
        self
    }

    /// Accepts a FIN between two Noise messages as the end of the stream,
    /// although the peer sent no close notification.
    ///
    /// Default: such an end is
    /// [`SessionError::Truncated`](crate::error::SessionError::Truncated), and
    /// the messages that are queued for the peer are dropped. With this setting
    /// the end is handled like that of plain TCP: queued answers are sent, and
    /// the reason is
    /// [`DisconnectReason::PeerClosed`](crate::DisconnectReason::PeerClosed). A
    /// FIN within a Noise message is still `Truncated`. This end still sends
    /// its own close notification.
    ///
    /// Peers that use another library for Noise need it: the specification has
    /// no close notification, and libp2p, for instance, sends none. Anyone on
    /// the path can forge a FIN. Allow it only if the messages themselves show
    /// that they are complete, and if the absence of later messages does no
    /// harm (section 14 of the specification, "Termination").
    pub fn allow_missing_close_notify(mut self) -> Self {
        self.allow_missing_close_notify = true;
        self
    }

    /// Sets when the session changes its keys. Default: never.
    pub fn rekey(mut self, rekey: Rekey) -> Self {
        self.rekey = Some(rekey);
        self
    }

    /// Returns the name of the protocol in the notation of the specification,
    /// for instance `Noise_XX_25519_ChaChaPoly_BLAKE2s`.
    pub fn protocol_name(&self) -> String {
        let mut positions: Vec<u8> = self.psks.iter().map(|(position, _)| *position).collect();
        positions.sort_unstable();
        let psks: Vec<String> = positions
            .iter()
            .map(|position| format!("psk{position}"))
            .collect();
        format!(
            "Noise_{}{}_25519_{}_{}",
            self.pattern.name(),
            psks.join("+"),
            self.cipher.name(),
            self.hash.name()
        )
    }

    /// Builds the session.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: a key that the pattern requires is missing.
    /// - `InvalidInput`: a key was set for a peer that has none in this
    ///   pattern.
    /// - `InvalidInput`: a psk is at a position that the pattern does not have,
    ///   or two are at the same position.
    /// - `InvalidInput`: the payload or its maximum is longer than
    ///   [`PAYLOAD_MAX`].
    pub fn build(self) -> io::Result<NoiseSession> {
        self.check()
            .map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        let params: NoiseParams = self.protocol_name().parse().map_err(refused)?;
        let resolver = Box::new(Resolver {
            local_key: self.local_key.cloned(),
        });
        let mut builder = Builder::with_resolver(params, resolver)
            .prologue(self.prologue)
            .map_err(refused)?;
        if self.pattern.static_key(self.role) != Static::None {
            if let Some(key) = self.local_key {
                builder = builder.local_private_key(key.secret()).map_err(refused)?;
            }
        }
        if self.pattern.static_key(!self.role) == Static::Known {
            if let Some(key) = self.remote_key {
                builder = builder.remote_public_key(key).map_err(refused)?;
            }
        }
        for (position, secret) in &self.psks {
            builder = builder.psk(*position, secret).map_err(refused)?;
        }
        let state = match self.role {
            Role::Initiator => builder.build_initiator(),
            Role::Responder => builder.build_responder(),
        };
        let handshake = Handshake {
            state: state.map_err(refused)?,
            pattern: self.pattern,
            role: self.role,
            has_psk: !self.psks.is_empty(),
            expected_key: self.remote_key.copied(),
            payload: self.payload.to_vec(),
            max_payload: self.max_payload,
            next: 0,
            peer_payload: Vec::new(),
        };
        Ok(NoiseSession::new(
            handshake,
            self.rekey,
            self.allow_missing_close_notify,
        ))
    }

    /// Checks the settings. The error is a text that names the problem.
    fn check(&self) -> Result<(), &'static str> {
        let own = self.pattern.static_key(self.role);
        if own != Static::None && self.local_key.is_none() {
            return Err("this pattern requires a key of this end");
        }
        match (self.pattern.static_key(!self.role), self.remote_key) {
            (Static::Known, None) => return Err("this pattern requires the peer's key"),
            (Static::None, Some(_)) => return Err("in this pattern the peer has no key"),
            _ => {}
        }
        for (number, (position, _)) in self.psks.iter().enumerate() {
            if usize::from(*position) > self.pattern.message_count() {
                return Err("this pattern has no such position for a psk");
            }
            if self.psks[..number]
                .iter()
                .any(|(other, _)| other == position)
            {
                return Err("two psks at one position");
            }
        }
        if self.payload.len() > PAYLOAD_MAX {
            return Err("the payload is longer than a handshake message may be");
        }
        if self.max_payload > PAYLOAD_MAX {
            return Err("the maximum payload is longer than a handshake message may be");
        }
        Ok(())
    }
}

/// Converts an error of snow about the settings.
fn refused(error: snow::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

impl fmt::Debug for Noise<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Noise")
            .field("protocol", &self.protocol_name())
            .field("role", &self.role)
            .field("local_key", &self.local_key)
            .field("remote_key", &self.remote_key)
            .field("rekey", &self.rekey)
            .finish_non_exhaustive()
    }
}
