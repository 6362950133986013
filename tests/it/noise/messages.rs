//! Messages and changes of keys.

use std::io::IoSlice;
use std::num::NonZeroU64;

use super::{BOTH_ROLES, body, with_snow};
use crate::util::frame;
use crate::util::session_end::exchange;
use crate::util::snow_peer::Deal;
use peerloop::error::SessionError;
use peerloop::noise::Rekey;
use peerloop::session::{Role, Session, Stage};

const LENS: [usize; 10] = [
    0, 1, 2, 255, 4096, 65_514, 65_515, 65_516, 131_072, 1_048_576,
];

#[test]
fn snow_understands_all_lengths() {
    let (mut end, mut peer) = with_snow(&Deal::xx(), Role::Responder);
    for len in LENS {
        peer.assert_exchange(&mut end, &body(len));
    }
}

#[test]
fn plaintext_is_split_at_65519_bytes() {
    for (len, pieces) in [
        (65_518, &[65_518][..]),
        (65_519, &[65_519]),
        (65_520, &[65_519, 1]),
        (131_038, &[65_519, 65_519]),
    ] {
        let (mut end, mut peer) = with_snow(&Deal::xx(), Role::Initiator);
        peer.open(&end.seal(&body(len)));
        assert_eq!(peer.pieces, pieces);
        assert!(peer.plaintext == body(len));
    }
}

#[test]
fn slices_share_a_message() {
    let (mut end, mut peer) = with_snow(&Deal::xx(), Role::Initiator);
    let slices = [&b"one"[..], b"", b"two"].map(IoSlice::new);
    end.session.seal(&slices, &mut end.wire).expect("a message");
    peer.open(&end.take_wire());
    assert_eq!(peer.plaintext, b"onetwo");
    assert_eq!(peer.pieces, [6]);
}

#[test]
fn slices_at_each_place_of_a_page_are_sealed() {
    let (mut end, mut peer) = with_snow(&Deal::xx(), Role::Initiator);
    let bytes = body(16 * 1024);
    // A slice that begins in an unfavourable place of its page, and parts of an
    // unfavourable length, are copied to another place first.
    for start in (0..4096).step_by(16) {
        let whole = &bytes[start..][..4096 + start / 4];
        let (first, second) = whole.split_at(start);
        for slices in [&[whole][..], &[first, second]] {
            let slices: Vec<IoSlice<'_>> = slices.iter().map(|part| IoSlice::new(part)).collect();
            end.session.seal(&slices, &mut end.wire).expect("a message");
            peer.plaintext.clear();
            peer.open(&end.take_wire());
            assert!(peer.plaintext == whole, "from {start}");
        }
    }
}

#[test]
fn peer_may_split_plaintext_anywhere() {
    let (mut end, mut peer) = with_snow(&Deal::xx(), Role::Responder);
    for (len, piece) in [
        (10, 1),
        (10, 3),
        (70_000, 65_519),
        (65_515, 65_519),
        (200_000, 997),
    ] {
        let wire = peer.frame_in(&body(len), piece);
        end.plaintext.clear();
        end.receive(&wire).expect("authentic messages");
        assert!(end.plaintext == frame(&body(len)), "pieces of {piece}");
    }
}

#[test]
fn keys_change_after_messages() {
    let mut deal = Deal::xx();
    deal.rekey = Some(Rekey::Messages(NonZeroU64::new(3).expect("not zero")));
    for role in BOTH_ROLES {
        let (mut end, mut peer) = with_snow(&deal, role);
        peer.rekey_every = Some(3);
        for len in 1..=10 {
            peer.assert_exchange(&mut end, &body(len));
        }
        // Four Noise messages each way.
        peer.assert_exchange(&mut end, &body(200_000));
        peer.open(&end.close_notify());
        assert_eq!(peer.pieces.last(), Some(&0));
        end.receive(&peer.record(b""))
            .expect("a close notification");
        assert_eq!(end.stage(), Stage::Finished);
    }
}

#[test]
fn keys_change_after_bytes() {
    let mut deal = Deal::xx();
    // Two messages of 54 bytes of plaintext have exactly this many.
    deal.rekey = Some(Rekey::Bytes(NonZeroU64::new(108).expect("not zero")));
    let (mut end, mut peer) = with_snow(&deal, Role::Responder);
    for _ in 0..5 {
        peer.assert_exchange(&mut end, &body(50));
        peer.assert_exchange(&mut end, &body(50));
        peer.rekey();
    }
}

#[test]
fn ends_must_agree_when_keys_change() {
    let count = |count| NonZeroU64::new(count).expect("not zero");
    for rekey in [
        Rekey::Messages(count(1)),
        Rekey::Messages(count(2)),
        Rekey::Bytes(count(65_519)),
    ] {
        let mut deal = Deal::nn();
        deal.rekey = Some(rekey);
        let mut a = deal.end(Role::Initiator);
        let mut b = Deal::nn().end(Role::Responder);
        exchange(&mut a, &mut b).expect("a handshake");
        let error = b.receive(&a.seal(&body(4 * 65_519)));
        assert!(
            matches!(error, Err(SessionError::Malformed(_))),
            "{rekey:?}"
        );
    }
}
