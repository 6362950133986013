//! Static keys.

use std::fmt;
use std::io;

use snow::params::DHChoice;
use snow::resolvers::{CryptoResolver, DefaultResolver, RingResolver};

use super::pattern::KEY_LEN;

/// The static key pair of a node, on Curve25519. Peers identify the node by its
/// public key.
///
/// `Debug` prints only the public key. The memory is not wiped on drop.
///
/// ```
/// use peerloop::noise::StaticKey;
///
/// # fn main() -> std::io::Result<()> {
/// let key = StaticKey::generate()?;
/// let restored = StaticKey::from_secret(*key.secret());
/// assert_eq!(key.public(), restored.public());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StaticKey {
    secret: [u8; KEY_LEN],
    public: [u8; KEY_LEN],
}

impl StaticKey {
    /// Generates a key pair from random bytes of the operating system.
    ///
    /// # Errors
    ///
    /// - `Other`: the operating system returned no random bytes.
    pub fn generate() -> io::Result<Self> {
        let mut secret = [0; KEY_LEN];
        let filled = RingResolver
            .resolve_rng()
            .map(|mut rng| rng.try_fill_bytes(&mut secret));
        match filled {
            Some(Ok(())) => Ok(Self::from_secret(secret)),
            _ => Err(io::Error::other("the system has no random bytes")),
        }
    }

    /// Returns the key pair with this secret key, which may be any 32 bytes
    /// that cannot be guessed.
    pub fn from_secret(secret: [u8; KEY_LEN]) -> Self {
        let mut curve = DefaultResolver
            .resolve_dh(&DHChoice::Curve25519)
            .expect("snow is built with Curve25519");
        curve.set(&secret);
        let mut public = [0; KEY_LEN];
        public.copy_from_slice(curve.pubkey());
        Self { secret, public }
    }

    /// Returns the secret key, to be stored in a safe place.
    pub fn secret(&self) -> &[u8; KEY_LEN] {
        &self.secret
    }

    /// Returns the public key, to be given to peers.
    pub fn public(&self) -> &[u8; KEY_LEN] {
        &self.public
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}
