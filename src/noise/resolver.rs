//! The cryptography that snow uses.

use std::sync::Arc;

use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver, RingResolver};
use snow::types::{Cipher, Dh, Hash, Random};

use super::StaticKey;

/// Returns a key pair on Curve25519 that is not set.
pub(super) fn new_pair() -> Box<dyn Dh> {
    DefaultResolver
        .resolve_dh(&DHChoice::Curve25519)
        .expect("snow is built with Curve25519")
}

/// The resolver of snow's own builder, except that handshakes share the key
/// pair of this node.
///
/// snow gets the secret key and derives the public key again for each
/// handshake: 0.34 of the 2.7 million instructions of one end of XX.
pub(super) struct Resolver {
    pub(super) local_key: Option<StaticKey>,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        RingResolver.resolve_rng()
    }

    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(match &self.local_key {
            Some(key) => Box::new(HandshakePair {
                local: Arc::clone(key.pair()),
                own: new_pair(),
                is_local: false,
            }),
            None => new_pair(),
        })
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        let hash = RingResolver.resolve_hash(choice);
        hash.or_else(|| DefaultResolver.resolve_hash(choice))
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        RingResolver.resolve_cipher(choice)
    }
}

/// One of the two key pairs of a handshake. snow sets the static pair, and
/// generates the other one.
struct HandshakePair {
    /// The static pair of this node.
    local: Arc<dyn Dh>,
    own: Box<dyn Dh>,
    /// The pair is the local one.
    is_local: bool,
}

impl HandshakePair {
    fn pair(&self) -> &dyn Dh {
        if self.is_local {
            &*self.local
        } else {
            &*self.own
        }
    }
}

impl Dh for HandshakePair {
    fn name(&self) -> &'static str {
        self.own.name()
    }

    fn pub_len(&self) -> usize {
        self.own.pub_len()
    }

    fn priv_len(&self) -> usize {
        self.own.priv_len()
    }

    fn set(&mut self, secret: &[u8]) {
        self.is_local = secret == self.local.privkey();
        if !self.is_local {
            self.own.set(secret);
        }
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), Error> {
        self.is_local = false;
        self.own.generate(random)
    }

    fn pubkey(&self) -> &[u8] {
        self.pair().pubkey()
    }

    fn privkey(&self) -> &[u8] {
        self.pair().privkey()
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        self.pair().dh(public, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(local_key: &StaticKey) -> Box<dyn Dh> {
        let local_key = Some(local_key.clone());
        let pair = Resolver { local_key }.resolve_dh(&DHChoice::Curve25519);
        pair.expect("a pair")
    }

    #[test]
    fn the_static_pair_is_not_copied() {
        let key = StaticKey::from_secret([1; 32]);
        let mut pair = pair(&key);
        pair.set(key.secret());
        assert!(std::ptr::eq(pair.privkey(), key.secret()));
        assert!(std::ptr::eq(pair.pubkey(), key.public()));
    }

    #[test]
    fn other_pairs_are_not_the_static_pair() {
        let [key, other] = [1, 2].map(|byte| StaticKey::from_secret([byte; 32]));
        let mut pair = pair(&key);
        pair.set(other.secret());
        assert_eq!(pair.pubkey(), other.public());
        pair.set(key.secret());
        let mut random = RingResolver.resolve_rng().expect("ring has it");
        pair.generate(&mut *random).expect("random bytes");
        assert_ne!(pair.privkey(), key.secret());
        assert_ne!(pair.pubkey(), key.public());
    }
}
