//! What a session is to be like.

use std::fmt;
use std::io;

use snow::Builder;
use snow::params::NoiseParams;

use super::handshake::Handshake;
use super::key::StaticKey;
use super::noise_session::NoiseSession;
use super::pattern::{Cipher, Hash, KEY_LEN, Pattern, Static};
use super::{PAYLOAD_MAX, Rekey};
use crate::session::Role;

/// How a [`NoiseSession`] is to be: both sides must say the same but for their keys and payloads.
///
/// `Debug` shows no secrets. See the [module](super) for what comes of each setting on the wire.
#[derive(Clone)]
#[must_use = "nothing comes of it until it is built"]
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
    rekey: Option<Rekey>,
}

impl<'a> Noise<'a> {
    /// A session with this pattern, for this side of the connection: [`ConnEntry::role`](crate::Peer::direction) tells which.
    pub fn new(pattern: Pattern, role: impl Into<Role>) -> Self {
        let role = role.into();
        Self {
            pattern,
            role,
            cipher: Cipher::default(),
            hash: Hash::default(),
            local_key: None,
            remote_key: None,
            psks: Vec::new(),
            prologue: &[],
            payload: &[],
            rekey: None,
        }
    }

    /// The cipher; ChaCha20-Poly1305 unless another is chosen.
    pub fn cipher(mut self, cipher: Cipher) -> Self {
        self.cipher = cipher;
        self
    }

    /// The hash; BLAKE2s unless another is chosen.
    pub fn hash(mut self, hash: Hash) -> Self {
        self.hash = hash;
        self
    }

    /// This node's own key. Not used by patterns in which this side has none.
    pub fn local_key(mut self, key: &'a StaticKey) -> Self {
        self.local_key = Some(key);
        self
    }

    /// The public key that the peer must have. Patterns in which it is known beforehand cannot do without; in those in
    /// which it is sent, a peer with another one is [refused](crate::SessionError::Refused) as soon as it has sent
    /// it.
    pub fn remote_key(mut self, key: &'a [u8; KEY_LEN]) -> Self {
        self.remote_key = Some(key);
        self
    }

    /// A secret that both sides have, mixed in at this place: 0 is before the first message, 1 after the first one, up
    /// to the number of messages. `Noise::new(Pattern::XX, role).psk(3, secret)` is XXpsk3.
    pub fn psk(mut self, place: u8, secret: &'a [u8; KEY_LEN]) -> Self {
        self.psks.push((place, secret));
        self
    }

    /// What both sides must agree on without saying it: the name of the network, what was negotiated before. Empty unless
    /// given, and of any length.
    pub fn prologue(mut self, prologue: &'a [u8]) -> Self {
        self.prologue = prologue;
        self
    }

    /// What this side says in its last message of the handshake, up to [`PAYLOAD_MAX`] bytes; the peer finds it in
    /// [`Identity::payload`](crate::session::Identity::payload).
    ///
    /// Everybody can read what the side that dials says in NN, NX, KN, KX, IN, IX, NK1, KK1 and IK1, unless there is a
    /// psk in place 0 or 1: it is in the first message then, before any secret is shared.
    pub fn payload(mut self, payload: &'a [u8]) -> Self {
        self.payload = payload;
        self
    }

    /// Changes keys as the connection goes on. Never, unless asked to.
    pub fn rekey(mut self, rekey: Rekey) -> Self {
        self.rekey = Some(rekey);
        self
    }

    /// The name of the protocol, as in the specification; `Noise_XX_25519_ChaChaPoly_BLAKE2s`, for instance.
    pub fn protocol_name(&self) -> String {
        let mut places: Vec<u8> = self.psks.iter().map(|(place, _)| *place).collect();
        places.sort_unstable();
        let psks: Vec<String> = places.iter().map(|place| format!("psk{place}")).collect();
        format!(
            "Noise_{}{}_25519_{}_{}",
            self.pattern.name(),
            psks.join("+"),
            self.cipher.name(),
            self.hash.name()
        )
    }

    /// The session.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: a key is missing that the pattern needs, or one is expected of a peer that has none in this pattern;
    ///   a psk is in a place that the pattern does not have, or two are in one; the payload is longer than
    ///   [`PAYLOAD_MAX`].
    pub fn build(self) -> io::Result<NoiseSession> {
        self.check()
            .map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        let params: NoiseParams = self.protocol_name().parse().map_err(refused)?;
        let mut builder = Builder::new(params)
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
        for (place, secret) in &self.psks {
            builder = builder.psk(*place, secret).map_err(refused)?;
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
            expected: self.remote_key.copied(),
            payload: self.payload.to_vec(),
            next: 0,
            peer_payload: Vec::new(),
        };
        Ok(NoiseSession::new(handshake, self.rekey))
    }

    /// What is wrong with the settings.
    fn check(&self) -> Result<(), &'static str> {
        let own = self.pattern.static_key(self.role);
        if own != Static::None && self.local_key.is_none() {
            return Err("this pattern needs a key of this side's own");
        }
        match (self.pattern.static_key(!self.role), self.remote_key) {
            (Static::Known, None) => return Err("this pattern needs to know the peer's key"),
            (Static::None, Some(_)) => return Err("in this pattern the peer has no key"),
            _ => {}
        }
        for (number, (place, _)) in self.psks.iter().enumerate() {
            if usize::from(*place) > self.pattern.message_count() {
                return Err("this pattern has no such place for a psk");
            }
            if self.psks[..number].iter().any(|(other, _)| other == place) {
                return Err("two psks in one place");
            }
        }
        if self.payload.len() > PAYLOAD_MAX {
            return Err("the payload is longer than a handshake message may be");
        }
        Ok(())
    }
}

/// What snow does not accept.
fn refused(error: snow::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

impl fmt::Debug for Noise<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Noise")
            .field("protocol", &self.protocol_name())
            .field("side", &self.role)
            .field("local_key", &self.local_key)
            .field("remote_key", &self.remote_key)
            .field("rekey", &self.rekey)
            .finish_non_exhaustive()
    }
}
