//! Every protocol name, with snow at the other end.

use super::{BOTH_ROLES, with_snow};
use crate::util::session_end::SessionEnd;
use crate::util::snow_peer::{Deal, SnowPeer};
use peerloop::noise::{Cipher, Hash, Pattern};
use peerloop::session::{Identity, Role, Session};

#[rustfmt::skip]
const PATTERNS: [(Pattern, &str); 30] = [
    (Pattern::NN, "NN"), (Pattern::NK, "NK"), (Pattern::NX, "NX"),
    (Pattern::XN, "XN"), (Pattern::XK, "XK"), (Pattern::XX, "XX"),
    (Pattern::KN, "KN"), (Pattern::KK, "KK"), (Pattern::KX, "KX"),
    (Pattern::IN, "IN"), (Pattern::IK, "IK"), (Pattern::IX, "IX"),
    (Pattern::NK1, "NK1"), (Pattern::NX1, "NX1"), (Pattern::XK1, "XK1"),
    (Pattern::XX1, "XX1"), (Pattern::K1N, "K1N"), (Pattern::K1K, "K1K"),
    (Pattern::KK1, "KK1"), (Pattern::K1K1, "K1K1"), (Pattern::K1X, "K1X"),
    (Pattern::KX1, "KX1"), (Pattern::K1X1, "K1X1"), (Pattern::I1N, "I1N"),
    (Pattern::I1K, "I1K"), (Pattern::IK1, "IK1"), (Pattern::I1K1, "I1K1"),
    (Pattern::I1X, "I1X"), (Pattern::IX1, "IX1"), (Pattern::I1X1, "I1X1"),
];

const WITH_PSK: [(Pattern, &str, u8); 6] = [
    (Pattern::XX, "XXpsk0", 0),
    (Pattern::XX, "XXpsk1", 1),
    (Pattern::XX, "XXpsk2", 2),
    (Pattern::XX, "XXpsk3", 3),
    (Pattern::NN, "NNpsk0", 0),
    (Pattern::IK, "IKpsk2", 2),
];

fn deals() -> Vec<Deal> {
    let deal = |pattern, name| {
        let name = format!("Noise_{name}_25519_ChaChaPoly_BLAKE2s");
        Deal::new(pattern, name.leak())
    };
    let plain = PATTERNS.map(|(pattern, name)| deal(pattern, name));
    let with_psk = WITH_PSK.map(|(pattern, name, place)| deal(pattern, name).psk(place));
    plain.into_iter().chain(with_psk).collect()
}

/// The identity of one end.
fn expected(deal: &Deal, role: Role) -> Identity {
    let mut identity = Identity::default();
    if deal.letter(role) != b'N' {
        identity.public_key = Some(deal.key(role).public().to_vec());
    }
    identity.payload = deal.payload(role).to_vec();
    identity
}

#[test]
fn every_pattern_works_with_snow_in_both_roles() {
    for deal in deals() {
        for role in BOTH_ROLES {
            let (mut end, mut peer) = with_snow(&deal, role);
            let name = deal.name;
            assert_eq!(deal.noise(role).protocol_name(), name);
            assert_eq!(
                end.session.identity(),
                Some(expected(&deal, !role)),
                "{name}"
            );
            assert_eq!(peer.payload, deal.payload(role), "{name}");
            peer.assert_exchange(&mut end, b"a message");
        }
    }
}

#[test]
fn other_ciphers_and_hashes_work_with_snow() {
    for (cipher, hash, name) in [
        (
            Cipher::ChaChaPoly,
            Hash::Sha256,
            "Noise_XX_25519_ChaChaPoly_SHA256",
        ),
        (Cipher::AesGcm, Hash::Sha512, "Noise_XX_25519_AESGCM_SHA512"),
        (
            Cipher::AesGcm,
            Hash::Blake2b,
            "Noise_XX_25519_AESGCM_BLAKE2b",
        ),
    ] {
        let deal = Deal::new(Pattern::XX, name);
        let noise = deal.noise(Role::Responder).cipher(cipher).hash(hash);
        assert_eq!(noise.protocol_name(), name);
        let mut end = SessionEnd::new(noise.build().expect("valid settings"));
        let mut peer = SnowPeer::handshake(&deal, Role::Initiator, &mut end);
        peer.assert_exchange(&mut end, b"a message");
    }
}
