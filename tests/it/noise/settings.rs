//! Settings that are refused, and secrets in debug output.

use std::io;

use peerloop::noise::{Noise, PAYLOAD_MAX, Pattern, StaticKey};
use peerloop::session::Role;

#[test]
fn settings_that_cannot_work_are_refused() {
    let key = StaticKey::generate().expect("randomness");
    let psk = [1; 32];
    let too_long = vec![0; PAYLOAD_MAX + 1];
    let new = |pattern| Noise::new(pattern, Role::Initiator);
    for (noise, problem) in [
        (new(Pattern::XX), "requires a key of this end"),
        (new(Pattern::IK).local_key(&key), "requires the peer's key"),
        (
            new(Pattern::NN).remote_key(key.public()),
            "the peer has no key",
        ),
        (new(Pattern::NN).psk(3, &psk), "no such position"),
        (new(Pattern::NN).psk(200, &psk), "no such position"),
        (
            new(Pattern::NN).psk(1, &psk).psk(1, &psk),
            "at one position",
        ),
        (new(Pattern::NN).payload(&too_long), "payload is longer"),
        (
            new(Pattern::NN).max_payload(PAYLOAD_MAX + 1),
            "maximum payload is longer",
        ),
    ] {
        let error = noise.build().expect_err("a refusal");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(problem), "{error}");
    }
    let noise = new(Pattern::NN).psk(2, &psk).psk(0, &psk);
    assert_eq!(
        noise.protocol_name(),
        "Noise_NNpsk0+psk2_25519_ChaChaPoly_BLAKE2s"
    );
    noise.build().expect("two psks");
}

#[test]
fn debug_output_has_no_secrets() {
    let [one, other] = [(); 2].map(|()| StaticKey::generate().expect("randomness"));
    assert_ne!(one, other);
    let key = StaticKey::from_secret([0xab; 32]);
    let psk = [0xcd; 32];
    let noise = Noise::new(Pattern::XX, Role::Initiator)
        .local_key(&key)
        .psk(3, &psk)
        .payload(&[0xef; 4]);
    let session = noise.clone().build().expect("valid settings");
    let shown = format!("{key:?} {noise:?} {session:?}");
    for secret in ["171, 171", "205, 205", "239, 239"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
