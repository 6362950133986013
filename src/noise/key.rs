//! Static keys.

use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use snow::resolvers::{CryptoResolver, RingResolver};
use snow::types::Dh;

use super::pattern::KEY_LEN;
use super::resolver::new_pair;

/// The static key pair of a node, on Curve25519. Peers identify the node by its
/// public key.
///
/// `Debug` prints only the public key. Clones and sessions share one copy of
/// the secret key. The memory is not wiped on drop.
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
#[derive(Clone)]
pub struct StaticKey {
    /// The pair does not change.
    pair: Arc<dyn Dh>,
}

impl UnwindSafe for StaticKey {}

impl RefUnwindSafe for StaticKey {}

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
        let mut pair = new_pair();
        pair.set(&secret);
        Self { pair: pair.into() }
    }

    /// Returns the secret key, to be stored in a safe place.
    pub fn secret(&self) -> &[u8; KEY_LEN] {
        key(self.pair.privkey())
    }

    /// Returns the public key, to be given to peers.
    pub fn public(&self) -> &[u8; KEY_LEN] {
        key(self.pair.pubkey())
    }

    pub(super) fn pair(&self) -> &Arc<dyn Dh> {
        &self.pair
    }
}

fn key(bytes: &[u8]) -> &[u8; KEY_LEN] {
    bytes
        .try_into()
        .expect("keys of Curve25519 have this length")
}

impl PartialEq for StaticKey {
    fn eq(&self, other: &Self) -> bool {
        self.secret() == other.secret()
    }
}

impl Eq for StaticKey {}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKey")
            .field("public", self.public())
            .finish_non_exhaustive()
    }
}
