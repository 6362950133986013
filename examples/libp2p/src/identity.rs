//! Keys, peer ids, and the payload of the Noise handshake that connects both.
//!
//! A host is known by an Ed25519 key. Noise needs a key of another kind. So each
//! end sends its identity key in the handshake, and has signed its Noise key with
//! it.

use std::error::Error;

use peerloop::noise::StaticKey;
use peerloop::session::Identity;
use prost::Message;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::Reason;

/// What is signed begins with it, so that no other signature can be used.
const CONTEXT: &[u8] = b"noise-libp2p-static-key:";

const TYPE_ED25519: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct PublicKey {
    #[prost(int32, required, tag = "1")]
    key_type: i32,
    #[prost(bytes = "vec", required, tag = "2")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct HandshakePayload {
    #[prost(bytes = "vec", tag = "1")]
    identity_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    identity_sig: Vec<u8>,
}

/// The keys of a host.
pub struct Keys {
    identity: Ed25519KeyPair,
    pub noise: StaticKey,
}

impl Keys {
    /// Returns new keys. A real host stores its identity key.
    pub fn generate() -> Result<Self, Box<dyn Error>> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())?;
        Ok(Self {
            identity: Ed25519KeyPair::from_pkcs8(document.as_ref())?,
            noise: StaticKey::generate()?,
        })
    }

    pub fn peer_id(&self) -> String {
        peer_id(&self.public_key())
    }

    /// Returns the identity key as a protobuf.
    pub fn public_key(&self) -> Vec<u8> {
        encode(self.identity.public_key().as_ref())
    }

    /// Returns the handshake payload for this public Noise key.
    pub fn payload(&self, noise: &[u8]) -> Vec<u8> {
        let signature = self.identity.sign(&[CONTEXT, noise].concat());
        let payload = HandshakePayload {
            identity_key: self.public_key(),
            identity_sig: signature.as_ref().to_vec(),
        };
        payload.encode_to_vec()
    }
}

/// Returns the peer id, if the identity key has signed the Noise key.
pub fn verify(identity: &Identity) -> Result<String, Reason> {
    let payload = HandshakePayload::decode(identity.payload.as_slice())
        .map_err(|_| "a malformed handshake payload")?;
    let key = PublicKey::decode(payload.identity_key.as_slice())
        .map_err(|_| "a malformed identity key")?;
    if key.key_type != TYPE_ED25519 {
        return Err("an identity key that is not an Ed25519 key");
    }
    let noise = identity.public_key.as_deref().unwrap_or_default();
    UnparsedPublicKey::new(&ED25519, &key.data)
        .verify(&[CONTEXT, noise].concat(), &payload.identity_sig)
        .map_err(|_| "the identity key has not signed the Noise key")?;
    Ok(peer_id(&encode(&key.data)))
}

fn encode(ed25519: &[u8]) -> Vec<u8> {
    let key = PublicKey {
        key_type: TYPE_ED25519,
        data: ed25519.to_vec(),
    };
    key.encode_to_vec()
}

/// Returns the text of the peer id: the multihash of the key in base58. A key of
/// at most 42 bytes is its own hash: code 0 ("identity"), length, key.
fn peer_id(key: &[u8]) -> String {
    let multihash = [&[0, key.len() as u8], key].concat();
    bs58::encode(multihash).into_string()
}
