//! Noise in which both sides show their keys, with the same two keys for all nodes of the process.

use std::num::NonZeroU64;
use std::sync::OnceLock;

use peerloop::Direction;
use peerloop::noise::{Noise, NoiseSession, Pattern, Rekey, StaticKey};

pub fn session(side: Direction) -> NoiseSession {
    static KEYS: OnceLock<[StaticKey; 2]> = OnceLock::new();
    let [connecting, accepting] = KEYS.get_or_init(|| {
        // Any bytes will do; the other keys of a connection are drawn.
        [[1; 32], [2; 32]].map(StaticKey::from_secret)
    });
    let (own, other) = match side {
        Direction::Outbound => (connecting, accepting),
        Direction::Inbound => (accepting, connecting),
    };
    // Often enough that a short conversation changes its keys.
    let often = NonZeroU64::new(10).expect("ten");
    Noise::new(Pattern::XX, side)
        .local_key(own)
        .remote_key(other.public())
        .payload(b"simulated")
        .rekey(Rekey::Messages(often))
        .build()
        .expect("the settings fit each other")
}
