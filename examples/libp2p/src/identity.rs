//! Keys, peer ids, and the payload of the Noise handshake, which connects both.
//!
//! A host is known by an Ed25519 key. Noise needs a key of another kind. So each
//! end signs its Noise key with its identity key, and sends the signature in the
//! handshake.

use peerloop::{noise::StaticKey, session::Identity};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::{Checked, prefixed::*};

/// An identity key is sent as a protobuf: field 1 is its type, 1 for Ed25519, and
/// field 2 the key itself, of 32 bytes.
const ED25519_KEY: &[u8] = &[1 << 3, 1, 2 << 3 | 2, 32];

/// Signed data begins with it, so that no other signature can be used.
const CONTEXT: &[u8] = b"noise-libp2p-static-key:";

/// Returns an identity key as it is sent.
pub fn public(key: &Ed25519KeyPair) -> Vec<u8> {
    [ED25519_KEY, key.public_key().as_ref()].concat()
}

/// Returns the payload for a handshake with this Noise key.
pub fn payload(key: &Ed25519KeyPair, noise: &StaticKey) -> Vec<u8> {
    let signature = key.sign(&[CONTEXT, noise.public()].concat());
    [field(1, public(key)), field(2, signature)].concat()
}

/// Returns the peer id, if the identity key has signed the Noise key.
pub fn verify(identity: &Identity) -> Checked<String> {
    // Fields are sent in the order of their numbers.
    let fields = fields(&identity.payload)?;
    let [(1, key), (2, signature), ..] = fields[..] else {
        return Err("no identity key");
    };
    let ed25519 = key.strip_prefix(ED25519_KEY).ok_or("no Ed25519 key")?;
    let signed = [CONTEXT, identity.public_key.as_deref().unwrap_or_default()].concat();
    let is_signed = UnparsedPublicKey::new(&ED25519, ed25519).verify(&signed, signature);
    is_signed.map_err(|_| "the identity key has not signed the Noise key")?;
    Ok(peer_id(key))
}

/// Returns the peer id of a key: its multihash, in base58. A key of at most 42
/// bytes is its own hash: code 0 ("identity"), length, key.
pub fn peer_id(key: &[u8]) -> String {
    bs58::encode([&[0, key.len() as u8], key].concat()).into_string()
}
