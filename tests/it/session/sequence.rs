//! A sequence of sessions.

use crate::util::outcome::{CLOSED, until_both_ended};
use crate::util::raw;
use crate::util::session_end::{SessionEnd, assert_works_by_bytes, exchange};
use crate::util::session_peer::{StreamEnd, read_to_end};
use crate::util::sessions::{
    Greeting, HELLO_LEN, Kind, MAGIC, Manner, Xor, untimed, with_sessions,
};
use crate::util::{Recorder, frame, listening, pair, run_until};
use peerloop::session::{Identity, Sequence, Session};
use peerloop::{Direction, DisconnectReason};

type Boxed = Box<dyn Session>;

/// A greeting, and a toy cipher after it. A box of a session is a session, too.
fn sequence(direction: Direction) -> Sequence<Boxed, Boxed> {
    let greeting = Box::new(Greeting::new(Manner::Agrees));
    Sequence::new(greeting, Box::new(Xor::new(direction)))
}

fn both(recorder: Recorder) -> Recorder {
    with_sessions(recorder, sequence)
}

#[test]
fn sequence_works_in_one_piece_and_by_bytes() {
    for piece_len in [usize::MAX, 1] {
        let (mut node, addr) = listening(untimed(), both(Recorder::echo()));
        let mut peer = raw::connect(addr);
        run_until([&mut node], |[node]| node.net().connecting_count() == 1);
        raw::settle(&mut node);
        let mut end = SessionEnd::new(Xor::agreed());
        let bytes = [
            MAGIC.to_vec(),
            end.take_wire(),
            end.frame(b"hello"),
            end.session.record(Kind::CloseNotify, b""),
        ]
        .concat();
        for piece in bytes.chunks(piece_len) {
            raw::feed(&mut node, &mut peer, piece);
        }
        let (bytes, stream_end) = read_to_end(&mut node, &mut peer);
        assert_eq!((&bytes[..4], stream_end), (&MAGIC[..], StreamEnd::Fin));
        end.receive(&bytes[4 + HELLO_LEN..]).expect("records");
        assert_eq!(end.plaintext, frame(b"hello"));
        let conn = node.handler().connected()[0];
        let reason = raw::until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::PeerClosed);
        assert_eq!(node.handler().messages(conn), [b"hello"]);
    }
}

#[track_caller]
fn assert_identity(identity: Option<&Identity>) {
    let identity = identity.expect("an identity");
    assert_eq!(identity.public_key.as_deref(), Some(&b"accepted"[..]));
    assert_eq!(identity.protocol.as_deref(), Some(&MAGIC[..]));
}

#[test]
fn sequence_has_identity_of_both_parts() {
    let (mut a, to_b, mut b, to_a) =
        pair(untimed(), both(Recorder::default()), both(Recorder::echo()));
    let view = a.net().connection(to_b).expect("a connection");
    assert_identity(view.identity());
    a.net().close(to_b);
    assert_eq!(until_both_ended(&mut a, to_b, &mut b, to_a), CLOSED);
}

#[test]
fn sequence_without_network_works_by_bytes() {
    let ends = || {
        [Direction::Outbound, Direction::Inbound]
            .map(|direction| SessionEnd::new(sequence(direction)))
    };
    let [mut a, mut b] = ends();
    exchange(&mut a, &mut b).expect("a handshake");
    assert_identity(a.session.identity().as_ref());
    let [a, b] = ends();
    assert_works_by_bytes(a, b);
}
