//! Peers that send what the protocol does not allow.

use super::{ends, established_ends, with_snow};
use crate::util::frame;
use crate::util::session_end::SessionEnd;
use crate::util::snow_peer::{Deal, SnowPeer, refusal};
use peerloop::error::SessionError::{self, Malformed};
use peerloop::noise::{NoiseSession, PAYLOAD_MAX};
use peerloop::session::{Role, Stage};

#[track_caller]
fn assert_malformed(end: &mut SessionEnd<NoiseSession>, bytes: &[u8]) {
    let error = refusal(end, bytes);
    assert!(matches!(error, Malformed(_)), "{error}: {bytes:?}");
}

#[test]
fn no_handshake_is_refused_on_its_header() {
    for (deal, starts) in [
        (
            Deal::xx(),
            &[
                &b"GET / HTTP/1.1\r\n"[..],
                b"\0\0",
                b"\0\x1f",
                b"\0\x21",
                b"\xff\xff",
                b"\x16\x03\x01\x02\x00\x01",
            ][..],
        ),
        (Deal::xx_psk3(), &[b"\0\x20", b"\0\x31", b"SSH-2.0-"]),
        (Deal::ik(), &[b"\0\0", b"\0\x5f", b"\0\x20"]),
        (Deal::nn(), &[b"\0\x1f"]),
    ] {
        for bytes in starts {
            assert_malformed(&mut deal.end(Role::Responder), bytes);
        }
    }
}

#[test]
fn garbage_of_an_allowed_length_is_refused() {
    for (mut deal, len) in [
        (Deal::xx_psk3(), 48_u16),
        (Deal::ik(), 96),
        (Deal::ik(), 65_535),
    ] {
        deal.max_payload = Some(PAYLOAD_MAX);
        let garbage = [&len.to_be_bytes()[..], &vec![0x5a; len.into()]].concat();
        assert_malformed(&mut deal.end(Role::Responder), &garbage);
    }
}

/// Exchanges a handshake with one wrong bit in the byte at `position`. Returns whether
/// there is such a byte, and the error. It is `None` if an end waits for more.
fn exchange_with_wrong_bit(deal: &Deal, mut position: usize) -> (bool, Option<SessionError>) {
    let [mut a, mut b] = ends(deal);
    let mut is_changed = false;
    let mut alter = |mut bytes: Vec<u8>| {
        if let Some(byte) = bytes.get_mut(position).filter(|_| !is_changed) {
            *byte ^= 1;
            is_changed = true;
        }
        position = position.saturating_sub(bytes.len());
        bytes
    };
    let mut error = None;
    while error.is_none() && !(a.wire.is_empty() && b.wire.is_empty()) {
        error = b.receive(&alter(a.take_wire())).err();
        if error.is_none() {
            error = a.receive(&alter(b.take_wire())).err();
        }
    }
    let is_complete = [a.stage(), b.stage()] == [Stage::Established; 2];
    assert_ne!(is_complete, is_changed, "byte {position}");
    (is_changed, error)
}

#[test]
fn wrong_bit_anywhere_in_the_handshake_is_found() {
    for deal in [Deal::xx(), Deal::ik()] {
        let mut position = 0;
        loop {
            let (is_changed, error) = exchange_with_wrong_bit(&deal, position);
            if !is_changed {
                break;
            }
            if let Some(error) = error {
                assert!(matches!(error, Malformed(_)), "byte {position}: {error}");
            }
            position += 1;
        }
        assert!(position > 150, "the length of a handshake: {position}");
    }
}

#[test]
fn replayed_or_reordered_handshake_is_refused() {
    let deal = Deal::xx();
    let [mut a, mut b] = ends(&deal);
    let first = a.take_wire();
    b.receive(&first).expect("an honest initiator");
    a.receive(&b.take_wire()).expect("an honest responder");
    let third = a.take_wire();
    for bytes in [
        [&first[..], &third].concat(),
        third.clone(),
        first.repeat(2),
    ] {
        assert_malformed(&mut deal.end(Role::Responder), &bytes);
    }
}

/// The only message of the initiator of IK can be replayed, but no message after it.
#[test]
fn replay_of_ik_cannot_send() {
    let deal = Deal::ik();
    let first = deal.end(Role::Initiator).take_wire();
    let mut end = deal.end(Role::Responder);
    end.receive(&first).expect("a replay");
    assert_eq!(end.stage(), Stage::Established);
    assert_malformed(&mut end, &[&b"\0\x20"[..], &[0; 32]].concat());
    assert!(end.plaintext.is_empty());
}

#[test]
fn forged_record_fails_after_messages_before_it() {
    type Attack = fn(&mut SnowPeer) -> Vec<u8>;
    let attacks: [(&str, Attack); 9] = [
        ("garbage", |_| b"GET / HTTP/1.1\r\n".repeat(2000)),
        ("empty", |_| b"\0\0".to_vec()),
        ("shorter than a tag", |_| b"\0\x0f".to_vec()),
        ("zeros", |_| [&b"\0\x10"[..], &[0; 16]].concat()),
        ("twice", |peer| peer.frame(b"second").repeat(2)),
        ("in another order", |peer| {
            let second = peer.frame(b"second");
            [peer.frame(b"third"), second].concat()
        }),
        ("one left out", |peer| {
            peer.frame(b"second");
            peer.frame(b"third")
        }),
        ("changed", |peer| {
            let mut record = peer.frame(b"second");
            *record.last_mut().expect("a record") ^= 1;
            record
        }),
        ("longer", |peer| {
            let mut record = peer.frame(b"second");
            record[1] += 1;
            record.push(0);
            record
        }),
    ];
    for (attack, bytes_of) in attacks {
        let (mut end, mut peer) = with_snow(&Deal::xx(), Role::Responder);
        let bytes = [peer.frame(b"first"), bytes_of(&mut peer)].concat();
        assert_malformed(&mut end, &bytes);
        let expected = match attack {
            "twice" => [frame(b"first"), frame(b"second")].concat(),
            _ => frame(b"first"),
        };
        assert_eq!(end.plaintext, expected, "{attack}");
    }
}

#[test]
fn message_and_garbage_may_follow_the_handshake() {
    let [mut a, mut b] = ends(&Deal::xx());
    b.receive(&a.take_wire()).expect("an honest initiator");
    a.receive(&b.take_wire()).expect("an honest responder");
    let third = a.take_wire();
    assert_malformed(&mut b, &[&third, &a.frame(b"first"), &b"\0\0"[..]].concat());
    assert_eq!(b.stage(), Stage::Established);
    assert_eq!(b.plaintext, frame(b"first"));
}

#[test]
fn bytes_after_close_notify_are_ignored() {
    let [mut a, mut b] = established_ends(&Deal::xx());
    let wire = [a.frame(b"last"), a.close_notify(), a.frame(b"late")].concat();
    b.receive(&[&wire, &b"\0\0garbage"[..]].concat())
        .expect("a clean end");
    assert_eq!(b.plaintext, frame(b"last"));
    assert_eq!(b.stage(), Stage::Finished);
}
