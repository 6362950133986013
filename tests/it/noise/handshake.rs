//! Handshakes of ends that do not agree, and payloads.

use super::{body, common_deals, ends, payload};
use crate::util::session_end::{SessionEnd, exchange};
use crate::util::snow_peer::{Deal, refusal};
use peerloop::error::SessionError::{self, Malformed, Refused};
use peerloop::noise::{PAYLOAD_MAX, Pattern, StaticKey};
use peerloop::session::{Role, Session, Stage};

/// Returns the end that refuses, and its error.
fn refusing(initiator: &Deal, responder: &Deal) -> (Role, SessionError) {
    let mut a = initiator.end(Role::Initiator);
    let mut b = responder.end(Role::Responder);
    loop {
        if let Err(error) = b.receive(&a.take_wire()) {
            assert_ne!(b.stage(), Stage::Established);
            return (Role::Responder, error);
        }
        if let Err(error) = a.receive(&b.take_wire()) {
            assert_ne!(a.stage(), Stage::Established);
            return (Role::Initiator, error);
        }
    }
}

#[test]
fn ends_that_do_not_agree_do_not_connect() {
    let early_psk = Deal::new(Pattern::NN, "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s").psk(0);
    let (mut other_early_psk, mut other_psk) = (early_psk.clone(), Deal::xx_psk3());
    other_early_psk.psk = Some((0, [8; 32]));
    other_psk.psk = Some((3, [8; 32]));
    let (mut other_prologue, mut other_key) = (Deal::xx(), Deal::ik());
    other_prologue.prologue = b"another prologue";
    other_key.keys[Role::Responder as usize] = StaticKey::from_secret([7; 32]);
    for (initiator, responder, expected) in [
        (Deal::xx_psk3(), other_psk, Role::Responder),
        (early_psk, other_early_psk, Role::Responder),
        (Deal::ik(), other_key, Role::Responder),
        (Deal::nn(), Deal::ik(), Role::Responder),
        (Deal::xx_psk3(), Deal::xx(), Role::Responder),
        (Deal::xx(), other_prologue, Role::Initiator),
        (Deal::xx(), Deal::nn(), Role::Initiator),
        (Deal::ik(), Deal::nn(), Role::Initiator),
    ] {
        let (role, error) = refusing(&initiator, &responder);
        assert_eq!(role, expected, "{} {}", initiator.name, responder.name);
        assert!(matches!(error, Malformed(_)), "{error}");
    }
}

#[test]
fn unexpected_key_is_refused_before_own_is_sent() {
    let deal = Deal::xx();
    let noise = deal.noise(Role::Initiator).remote_key(&[77; 32]);
    let session = noise.build().expect("valid settings");
    let mut a = SessionEnd::new(session);
    let mut b = deal.end(Role::Responder);
    b.receive(&a.take_wire()).expect("a first message");
    assert!(matches!(refusal(&mut a, &b.take_wire()), Refused(_)));
    assert!(a.wire.is_empty());
}

/// The maximum is 1 KiB by default. It is checked on the header.
#[test]
fn payload_above_the_maximum_is_refused() {
    let refused = Refused("a payload that is longer than `max_payload`");
    for (max, setting) in [
        (1024, None),
        (3, Some(3)),
        (0, Some(0)),
        (PAYLOAD_MAX, Some(PAYLOAD_MAX)),
    ] {
        for mut deal in common_deals() {
            deal.max_payload = setting;
            let [allowed, longer] = [max, max + 1].map(|len| &*body(len).leak());
            deal.payloads = [allowed; 2];
            let [mut a, mut b] = ends(&deal);
            exchange(&mut a, &mut b).expect("a handshake");
            assert!(payload(&a) == allowed && payload(&b) == allowed);
            if max == PAYLOAD_MAX {
                continue;
            }
            deal.payloads = [allowed, longer];
            let [mut a, mut b] = ends(&deal);
            b.receive(&a.take_wire()).expect("a first message");
            let answer = b.take_wire();
            assert_eq!(refusal(&mut a, &answer[..2]), refused, "{max}");
        }
    }
}

#[test]
fn empty_payload_and_no_key_are_no_identity() {
    let mut deal = Deal::nn();
    deal.payloads = [b""; 2];
    let [mut a, mut b] = ends(&deal);
    exchange(&mut a, &mut b).expect("a handshake");
    assert_eq!(a.session.identity(), None);
    assert_eq!(b.session.identity(), None);
}
