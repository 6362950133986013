//! A sequence of sessions, and boxed sessions.

use std::io::IoSlice;

use crate::util::outcome::{CLOSED, until_both_ended};
use crate::util::raw;
use crate::util::session_end::SessionEnd;
use crate::util::session_peer::{StreamEnd, read_to_end};
use crate::util::sessions::{
    Greeting, HELLO_LEN, Kind, MAGIC, Manner, Xor, untimed, with_sessions,
};
use crate::util::{Recorder, frame, listening, pair, run_until};
use peerloop::session::{Output, Sequence, Session};
use peerloop::{Direction, DisconnectReason};

/// A greeting, and a toy cipher after it.
fn both(recorder: Recorder) -> Recorder {
    with_sessions(recorder, |direction| {
        let greeting: Box<dyn Session> = Box::new(Greeting::new(Manner::Agrees));
        let cipher: Box<dyn Session> = Box::new(Xor::new(direction));
        Sequence::new(greeting, cipher)
    })
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

#[test]
fn sequence_has_identity_of_both_parts() {
    let (mut a, to_b, mut b, to_a) =
        pair(untimed(), both(Recorder::default()), both(Recorder::echo()));
    let view = a.net().connection(to_b).expect("a connection");
    let identity = view.identity().expect("an identity");
    assert_eq!(identity.public_key.as_deref(), Some(&b"accepted"[..]));
    assert_eq!(identity.protocol.as_deref(), Some(&MAGIC[..]));
    a.net().close(to_b);
    assert_eq!(until_both_ended(&mut a, to_b, &mut b, to_a), CLOSED);
}

/// Returns the results of every method of a session, in order.
fn results<S: Session>(mut session: S) -> (Vec<u8>, Vec<u8>, String) {
    let (mut plaintext, mut wire) = (Vec::new(), Vec::new());
    let mut peer = SessionEnd::new(Xor::new(Direction::Inbound));
    session.start(&mut wire).expect("a hello");
    peer.receive(&wire).expect("a hello");
    let mut bytes = [peer.take_wire(), peer.frame(b"hello")].concat();
    let taken = session
        .receive(&mut bytes, &mut Output::new(&mut plaintext, &mut wire))
        .expect("records");
    session
        .seal(&[IoSlice::new(b"day")], &mut wire)
        .expect("a record");
    session.close_notify(&mut wire);
    let rest = (
        taken,
        session.stage(),
        session.wire_ended(),
        session.identity(),
    );
    (plaintext, wire, format!("{rest:?}"))
}

#[test]
fn boxed_session_behaves_like_the_session() {
    let plain = results(Xor::new(Direction::Outbound));
    let boxed: Box<dyn Session> = Box::new(Xor::new(Direction::Outbound));
    assert_eq!(results(boxed), plain);
    assert_eq!(plain.0, frame(b"hello"));
}
