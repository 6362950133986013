//! Panics in a session and in `transport`.

use std::io::Write;

use crate::util::outcome::{assert_only_failures, failures};
use crate::util::session_peer::read_to_end;
use crate::util::sessions::{Greeting, MAGIC, Manner, greeting, untimed, with_sessions};
use crate::util::{Recorder, frame, listening, node, raw, run_until};
use peerloop::ConnectError;
use peerloop::error::SessionError;

const MANNERS: [Manner; 3] = [
    Manner::PanicsInStart,
    Manner::PanicsInReceive,
    Manner::PanicsInIdentity,
];

const PANICKED: ConnectError = ConnectError::Session(SessionError::Panicked);

#[test]
fn panic_in_session_fails_its_inbound_connection() {
    for manner in MANNERS {
        let mut left = 2;
        let recorder = with_sessions(Recorder::default(), move |_| {
            let is_over = left == 0;
            left -= i32::from(!is_over);
            Greeting::new(if is_over { Manner::Agrees } else { manner })
        });
        let (mut node, addr) = listening(untimed(), recorder);
        for round in 1..=2 {
            let mut peer = raw::connect(addr);
            peer.write_all(&MAGIC).expect("room");
            let _ = read_to_end(&mut node, &mut peer);
            drop(peer);
            run_until([&mut node], |[node]| node.net().metrics().panics == round);
            assert_eq!(node.net().metrics().handshakes_failed, round);
        }
        assert_only_failures(&mut node, &[PANICKED; 2]);
        // A third peer is served.
        let mut peer = raw::connect(addr);
        peer.write_all(&MAGIC).expect("room");
        let conn = raw::accepted(&mut node);
        raw::feed(&mut node, &mut peer, &frame(b"served"));
        assert_eq!(node.handler().messages(conn), [b"served"]);
    }
}

#[test]
fn panic_in_session_fails_its_connect() {
    for manner in MANNERS {
        let recorder = with_sessions(Recorder::default(), move |_| Greeting::new(manner));
        let mut a = node(untimed(), recorder);
        let (mut b, addr) = listening(untimed(), greeting(Recorder::default()));
        a.net().connect(addr).expect("a connect");
        run_until([&mut a, &mut b], |[a, _]| !failures(a).is_empty());
        assert_only_failures(&mut a, &[PANICKED]);
    }
}

#[test]
fn panic_in_transport_fails_its_connection() {
    let mut left = 2;
    let recorder = Recorder {
        sessions: Box::new(move |_, _| {
            left -= 1;
            assert!(left < 0, "required by the test");
            Ok(None)
        }),
        ..Recorder::default()
    };
    let (mut node, addr) = listening(untimed(), recorder);
    for _ in 0..2 {
        let mut peer = raw::connect(addr);
        assert_eq!(read_to_end(&mut node, &mut peer).0, b"");
    }
    assert_only_failures(&mut node, &[ConnectError::HandlerPanicked; 2]);
    assert_eq!(node.net().metrics().panics, 2);
    raw::join(&mut node, addr);
}
