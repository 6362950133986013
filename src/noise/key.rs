//! Static keys.

use std::fmt;
use std::io;

use snow::params::DHChoice;
use snow::resolvers::{CryptoResolver, DefaultResolver, RingResolver};

use super::pattern::KEY_LEN;

/// The lasting key of a node, by which others know it: a secret half and a public one, of Curve25519.
///
/// `Debug` shows the public half alone. The memory is not wiped when it is dropped.
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
    /// A new key, from the system's randomness.
    ///
    /// # Errors
    ///
    /// - `Other`: the system has no randomness to give.
    pub fn generate() -> io::Result<Self> {
        let mut secret = [0; KEY_LEN];
        let filled = RingResolver
            .resolve_rng()
            .map(|mut rng| rng.try_fill_bytes(&mut secret));
        match filled {
            Some(Ok(())) => Ok(Self::from_secret(secret)),
            _ => Err(io::Error::other("the system gives no randomness")),
        }
    }

    /// The key with this secret half: any 32 bytes that nobody can guess.
    pub fn from_secret(secret: [u8; KEY_LEN]) -> Self {
        let mut curve = DefaultResolver
            .resolve_dh(&DHChoice::Curve25519)
            .expect("snow is built with Curve25519");
        curve.set(&secret);
        let mut public = [0; KEY_LEN];
        public.copy_from_slice(curve.pubkey());
        Self { secret, public }
    }

    /// The secret half, for keeping it somewhere safe.
    pub fn secret(&self) -> &[u8; KEY_LEN] {
        &self.secret
    }

    /// The public half, for telling others.
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
