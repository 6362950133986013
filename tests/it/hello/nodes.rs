//! Two nodes, and sequences of sessions.

use super::*;
use crate::util::outcome::failures;
use crate::util::sessions::{Xor, untimed, with_sessions};
use crate::util::{node, pair};
use peerloop::error::SessionError;
use peerloop::session::Sequence;
use peerloop::{ConnectError, Direction};

#[test]
fn each_end_gets_the_hello_of_the_other() {
    let (mut a, to_b, mut b, to_a) = pair(untimed(), greeter(hello(1)), greeter(hello(2)));
    for (node, conn, id) in [(&mut a, to_b, 2), (&mut b, to_a, 1)] {
        let view = node.net().connection(conn).expect("it is open");
        let theirs = view
            .identity()
            .and_then(|identity| identity.hello.as_deref());
        let theirs = theirs.expect("a hello");
        let (sent, nonce) = (hello(id), theirs.nonce);
        assert_eq!((theirs.node_id, nonce), (sent.node_id, sent.nonce));
        assert_eq!((theirs.version, &theirs.blob), (sent.version, &sent.blob));
    }
    a.net().send(to_b, b"plain").expect("room");
    run_until([&mut a, &mut b], |[_, b]| {
        b.handler().messages(to_a) == [b"plain"]
    });
}

#[test]
fn next_session_of_a_sequence_follows() {
    let recorder = |id| {
        let session =
            move |direction: Direction| Sequence::new(hello(id).session(), Xor::new(direction));
        with_sessions(Recorder::default(), session)
    };
    let (mut a, to_b, mut b, to_a) = pair(untimed(), recorder(1), recorder(2));
    let view = a.net().connection(to_b).expect("it is open");
    let identity = view.identity().expect("an identity");
    assert_eq!(identity.public_key.as_deref(), Some(&b"accepted"[..]));
    let theirs = identity.hello.as_deref().expect("a hello");
    assert_eq!(theirs.node_id, [2; 32]);
    a.net().send(to_b, b"sealed").expect("room");
    run_until([&mut a, &mut b], |[_, b]| {
        b.handler().messages(to_a) == [b"sealed"]
    });
}

#[test]
fn long_blob_of_this_node_fails() {
    let long = Hello {
        blob: vec![0; 65_536],
        ..hello(1)
    };
    let (mut b, addr) = listening(untimed(), greeter(hello(2)));
    let mut a = node(untimed(), greeter(long));
    a.net().connect(addr).expect("a connect");
    run_until([&mut a, &mut b], |[a, b]| {
        !failures(a).is_empty() && !failures(b).is_empty()
    });
    let [ConnectError::Session(error @ SessionError::Failed(_))] = failures(&a)[..] else {
        panic!("{:?}", failures(&a));
    };
    assert!(!error.is_peers_fault());
}

#[test]
fn versions_from_the_minimum_on_are_accepted() {
    for (theirs, is_accepted) in [(1, false), (2, true), (3, true), (900, true)] {
        let other = Hello {
            version: theirs,
            min_version: 1,
            ..hello(2)
        };
        let (mut b, addr) = listening(untimed(), greeter(hello(1)));
        let mut a = node(untimed(), greeter(other));
        a.net().connect(addr).expect("a connect");
        run_until([&mut a, &mut b], |nodes| {
            nodes.iter().all(|node| node.handler().events.len() == 2)
        });
        let connected = [&a, &b].map(|node| node.handler().connected().len() == 1);
        assert_eq!(connected, [is_accepted; 2], "{theirs}");
    }
}
