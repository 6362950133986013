//! `Net::set_framing` with every framing, and the values that it refuses.

use std::io::Read;

use peerloop::error::TimeoutKind;
use peerloop::framing::{Framing, LengthPrefix};
use peerloop::{Bytes, DisconnectReason};

use super::{field, with_stale_id};
use crate::util::framings::{
    assert_arrived, body, config_with, encode, encode_all, framings, until_received,
};
use crate::util::raw::{feed, settle, until_ended, wire};
use crate::util::streams::lingering;
use crate::util::{Event, Recorder, run_until};

/// The last message in the old framing. Every framing can carry it.
const SWITCH: &[u8] = b"new";

/// Returns a handler that changes the framing at the last message in the old one.
fn switching(to: &Framing) -> Recorder {
    let to = to.clone();
    Recorder::reacting(move |net, event| match event {
        Event::Message(conn, message) if message == SWITCH => {
            net.set_framing(*conn, to.clone()).unwrap();
        }
        _ => {}
    })
}

/// The framings with boundaries, from which a message can change to another.
fn bounded() -> impl Iterator<Item = Framing> {
    framings()
        .into_iter()
        .filter(|framing| !matches!(framing, Framing::Raw))
}

#[test]
fn rest_of_any_split_has_the_new_framing() {
    for from in bounded() {
        for to in framings() {
            // Not the message that changes the framing, and no empty one.
            let bodies = [3, 200].map(|len| body(&to, len, len));
            let old = [body(&from, 5, 1), SWITCH.to_vec()];
            let stream = [encode_all(&from, &old), encode_all(&to, &bodies)].concat();
            let (mut node, conn, mut peer) = wire(config_with(&from), switching(&to));
            let begun = node.net().traffic().bytes_received as usize;
            let mut received = begun;
            for cut in (1..stream.len()).step_by(3) {
                let (first, second) = stream.split_at(cut);
                feed(&mut node, &mut peer, first);
                feed(&mut node, &mut peer, second);
                received += stream.len();
                until_received(&mut node, received);
                let context = format!("{from:?} to {to:?}, cut at {cut}");
                let arrived = node.handler().messages(conn);
                assert_eq!(arrived[..2], old, "{context}");
                assert_arrived(&to, &arrived[2..], &bodies, context);
                node.handler_mut().events.clear();
                node.net().set_framing(conn, from.clone()).unwrap();
            }
        }
    }
}

#[test]
fn later_sends_have_the_new_framing() {
    for from in bounded() {
        for to in framings() {
            let (mut node, conn, mut peer) = wire(config_with(&from), Recorder::default());
            let all = |framing| [3, 7, 30_000].map(|len| body(framing, len, 1));
            let (old, new) = (all(&from), all(&to));
            let net = node.net();
            let mut send = |bodies: &[Vec<u8>]| {
                for (index, body) in bodies.iter().enumerate() {
                    match index {
                        0 => net.send(conn, body).unwrap(),
                        1 => assert_eq!(net.broadcast([conn], body).queued, 1),
                        _ => net.send(conn, Bytes::from(body.clone())).unwrap(),
                    }
                }
                net.set_framing(conn, to.clone()).unwrap();
            };
            send(&old);
            send(&new);
            let expected = [encode_all(&from, &old), encode_all(&to, &new)].concat();
            settle(&mut node);
            let mut arrived = vec![0; expected.len()];
            peer.read_exact(&mut arrived).unwrap();
            assert!(arrived == expected, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn invalid_framing_changes_nothing() {
    let mut config = config_with(&Framing::default());
    config.connection.max_message_len = 100;
    let (mut node, conn, mut peer) = wire(config, Recorder::echo());
    for len in [0, 101, usize::MAX] {
        let refused = node.net().set_framing(conn, Framing::Fixed(len));
        assert_eq!(field(refused), "framing", "{len}");
    }
    node.net().set_framing(conn, Framing::Fixed(100)).unwrap();
    node.net().set_framing(conn, Framing::default()).unwrap();
    let frame = encode(&Framing::default(), b"hello");
    feed(&mut node, &mut peer, &frame);
    let mut answer = vec![0; frame.len()];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer, frame);
}

#[test]
fn stale_id_is_a_no_op() {
    let (mut node, conn) = with_stale_id();
    let events = node.handler().events.len();
    assert_eq!(node.net().set_framing(conn, Framing::Raw), Ok(()));
    settle(&mut node);
    assert_eq!(node.handler().events.len(), events);
}

#[test]
fn closing_connection_keeps_its_framing() {
    let mut config = config_with(&Framing::Delimited(b'\n'));
    config.connection.timeouts = lingering(std::time::Duration::from_millis(100));
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    node.net().send(conn, b"bye").unwrap();
    node.net().close(conn);
    let framing = Framing::custom(|| -> crate::util::framings::Netstring {
        unreachable!("nothing is decoded or sent any more")
    });
    node.net().set_framing(conn, framing).unwrap();
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    let mut arrived = Vec::new();
    peer.read_to_end(&mut arrived).unwrap();
    assert_eq!(arrived, b"bye\n");
}

#[test]
fn incomplete_frame_is_decoded_again() {
    let (mut node, conn, mut peer) = wire(Default::default(), Recorder::default());
    // The beginning of a frame of 2,560 bytes, which are three lines as well.
    feed(&mut node, &mut peer, b"\0\0\n\0a\nb\n");
    assert!(node.handler().messages(conn).is_empty());
    node.net()
        .set_framing(conn, Framing::Delimited(b'\n'))
        .unwrap();
    run_until([&mut node], |[node]| {
        node.handler().messages(conn) == [&b"\0\0"[..], b"\0a", b"b"]
    });
}

#[test]
fn incomplete_frame_may_be_malformed_now() {
    let (mut node, conn, mut peer) = wire(Default::default(), Recorder::default());
    feed(&mut node, &mut peer, &[0, 0x80, 0x80]);
    let varint = Framing::LengthDelimited(LengthPrefix::Varint);
    node.net().set_framing(conn, varint).unwrap();
    feed(&mut node, &mut peer, &[0]);
    let reason = until_ended(&mut node, conn);
    assert!(
        matches!(reason, DisconnectReason::MalformedFrame(_)),
        "{reason}"
    );
    assert_eq!(node.handler().messages(conn), [b""]);
}

#[test]
fn incomplete_frame_in_the_new_framing_times_out() {
    let mut config = config_with(&Framing::default());
    config.connection.timeouts.partial_message = Some(std::time::Duration::from_millis(100));
    let (mut node, conn, mut peer) = wire(config, switching(&Framing::Fixed(3)));
    feed(&mut node, &mut peer, b"\0\0\0\x03newxy");
    let reason = until_ended(&mut node, conn);
    assert_eq!(
        reason,
        DisconnectReason::Timeout(TimeoutKind::PartialMessage)
    );
}
