//! Keys, peer ids, and the payload of the Noise handshake, which connects both.
//!
//! A host is known by an Ed25519 key. Noise needs a key of another kind. So each
//! end signs its Noise key with its identity key, and sends the signature in the
//! handshake.

use std::error::Error;

use peerloop::noise::StaticKey;
use peerloop::session::Identity;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::{Reason, prefixed};

/// An identity key is sent as a protobuf: field 1 is its type, 1 for Ed25519, and
/// field 2 the key itself, of 32 bytes.
const ED25519_KEY: &[u8] = &[1 << 3, 1, 2 << 3 | 2, 32];

/// What is signed begins with it, so that no other signature can be used.
const CONTEXT: &[u8] = b"noise-libp2p-static-key:";

/// Returns a new identity key. A real host stores it.
pub fn generate() -> Result<Ed25519KeyPair, Box<dyn Error>> {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())?;
    Ok(Ed25519KeyPair::from_pkcs8(document.as_ref())?)
}

/// Returns an identity key as it is sent.
pub fn public(key: &Ed25519KeyPair) -> Vec<u8> {
    [ED25519_KEY, key.public_key().as_ref()].concat()
}

/// Returns the payload for a handshake with this Noise key.
pub fn payload(key: &Ed25519KeyPair, noise: &StaticKey) -> Vec<u8> {
    let signature = key.sign(&[CONTEXT, noise.public()].concat());
    prefixed::protobuf(&[(1, public(key)), (2, signature.as_ref().into())])
}

/// Returns the peer id, if the identity key has signed the Noise key.
pub fn verify(identity: &Identity) -> Result<String, Reason> {
    let fields = prefixed::fields(&identity.payload)?;
    let field = |number| {
        fields
            .iter()
            .find(|it| it.0 == number)
            .map_or(&[][..], |it| it.1)
    };
    let (key, signature) = (field(1), field(2));
    let ed25519 = key.strip_prefix(ED25519_KEY).ok_or("no Ed25519 key")?;
    let noise = identity.public_key.as_deref().unwrap_or_default();
    UnparsedPublicKey::new(&ED25519, ed25519)
        .verify(&[CONTEXT, noise].concat(), signature)
        .map_err(|_| "the identity key has not signed the Noise key")?;
    Ok(peer_id(key))
}

/// Returns the peer id of a key: its multihash, in base58. A key of at most 42
/// bytes is its own hash: code 0 ("identity"), length, key.
pub fn peer_id(key: &[u8]) -> String {
    bs58::encode([&[0, key.len() as u8], key].concat()).into_string()
}
