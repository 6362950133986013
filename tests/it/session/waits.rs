//! Timers and wakes of sessions.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::util::outcome::assert_only_failures;
use crate::util::sessions::{untimed, with_sessions};
use crate::util::waits::{Call, Waits};
use crate::util::{Event, Recorder, TestNode, frame, listening, raw, run_for, run_until};
use peerloop::error::SessionError;
use peerloop::session::{Sequence, Session, Stage};
use peerloop::{ConnId, ConnectError, DisconnectReason};

const MS: Duration = Duration::from_millis(1);

/// A node whose connections have this session, and a raw peer.
fn peer_of<S: Session + Clone + 'static>(session: &S) -> (TestNode, TcpStream) {
    let session = session.clone();
    let recorder = with_sessions(Recorder::default(), move |_| session.clone());
    let (mut node, addr) = listening(untimed(), recorder);
    let peer = raw::connect(addr);
    run_until([&mut node], |[node]| {
        node.net().connecting_count() + node.net().connection_count() == 1
    });
    raw::settle(&mut node);
    (node, peer)
}

fn only_conn(node: &mut TestNode) -> ConnId {
    let net = node.net();
    let first = net.connecting().chain(net.connections()).next();
    first.expect("a connection").id()
}

#[test]
fn timeout_ends_a_handshake() {
    let error = SessionError::Failed("no answer");
    let session = Waits::with(Stage::Handshaking, |state| {
        state.timeout_after_receive = Some(Some(20 * MS));
        state.error = Some(error);
    });
    let (mut node, mut peer) = peer_of(&session);
    let began = Instant::now();
    peer.write_all(b"x").expect("room");
    run_until([&mut node], |[node]| node.net().connecting_count() == 0);
    assert!(began.elapsed() >= 20 * MS);
    drop(peer);
    run_until([&mut node], |[node]| node.handler().events.len() == 2);
    assert_only_failures(&mut node, &[ConnectError::Session(error)]);
    assert_eq!(session.count(Call::Timeout), 1);
}

#[test]
fn wake_completes_a_handshake() {
    for next in [Stage::Transparent, Stage::Established] {
        let session = Waits::with(Stage::Handshaking, |state| {
            state.next_stage = Some(next);
            state.wire = b"welcome".to_vec();
        });
        let (mut node, mut peer) = peer_of(&session);
        // The bytes wait in the loop until the session takes them.
        raw::feed(&mut node, &mut peer, &frame(b"early"));
        let conn = only_conn(&mut node);
        assert_eq!(node.handler().connected(), []);
        node.net().wake_session(conn);
        node.net().wake_session(conn);
        run_until([&mut node], |[node]| node.handler().events.len() == 3);
        let events = &node.handler().events[1..];
        let expected = [
            Event::Connect(conn),
            Event::Message(conn, b"early".to_vec()),
        ];
        assert_eq!(events, expected, "{next:?}");
        let mut answer = [0; 7];
        run_for(MS, [&mut node]);
        peer.read_exact(&mut answer).expect("the output");
        assert_eq!(answer, *b"welcome");
        assert_eq!(session.count(Call::Wake), 1);
        // A transparent session is dropped, and is not woken any more.
        node.net().wake_session(conn);
        run_for(5 * MS, [&mut node]);
        let wakes = if next == Stage::Established { 2 } else { 1 };
        assert_eq!(session.count(Call::Wake), wakes);
    }
}

#[test]
fn wake_from_another_thread_reaches_the_session() {
    let session = Waits::with(Stage::Handshaking, |state| {
        state.next_stage = Some(Stage::Transparent);
    });
    let (mut node, _peer) = peer_of(&session);
    let (handle, conn) = (node.handle(), only_conn(&mut node));
    let thread = std::thread::spawn(move || {
        handle
            .post(move |_, net| net.wake_session(conn))
            .expect("a node");
    });
    thread.join().expect("no panic");
    // The loop needs no other event for it.
    let _ = node.turn(Some(Duration::from_secs(20))).expect("a turn");
    let _ = node.turn(Some(Duration::ZERO)).expect("a turn");
    assert_eq!(node.handler().connected(), [conn]);
}

#[test]
fn wake_of_no_session_is_ignored() {
    let (mut node, addr) = listening(untimed(), Recorder::default());
    let (conn, mut peer) = raw::join(&mut node, addr);
    node.net().wake_session(conn);
    raw::feed(&mut node, &mut peer, &frame(b"plain"));
    assert_eq!(node.handler().messages(conn), [b"plain"]);
    drop(peer);
    raw::until_ended(&mut node, conn);
    node.net().wake_session(conn);
    run_for(2 * MS, [&mut node]);
}

#[test]
fn established_session_can_send_and_deliver() {
    let session = Waits::with(Stage::Established, |state| {
        state.timeout = Some(MS);
        state.plaintext = frame(b"tick");
        state.wire = b"tock".to_vec();
    });
    let (mut node, mut peer) = peer_of(&session);
    let conn = only_conn(&mut node);
    run_until([&mut node], |[node]| {
        node.handler().messages(conn).len() == 3
    });
    session.state().timeout = None;
    let mut answer = [0; 12];
    run_for(5 * MS, [&mut node]);
    peer.read_exact(&mut answer).expect("the output");
    assert_eq!(answer, *b"tocktocktock");
    // `None` is asked for after the next call only.
    peer.write_all(&frame(b"x")).expect("room");
    run_until([&mut node], |[node]| {
        node.handler().messages(conn).contains(&&b"x"[..])
    });
    let count = session.count(Call::Timeout);
    run_for(20 * MS, [&mut node]);
    assert_eq!(session.count(Call::Timeout), count);
}

#[test]
fn timeout_of_zero_is_one_call_per_turn() {
    let session = Waits::with(Stage::Established, |state| {
        state.timeout = Some(Duration::ZERO);
    });
    let (mut node, mut peer) = peer_of(&session);
    let conn = only_conn(&mut node);
    let (turns, calls) = (node.net().metrics().turns, session.count(Call::Timeout));
    let timer = node.net().set_timer(MS, 7);
    peer.write_all(&frame(b"beside it")).expect("room");
    run_until([&mut node], |[node]| {
        let events = &node.handler().events;
        let is_served =
            events.contains(&Event::Timer(timer, 7)) && !node.handler().messages(conn).is_empty();
        is_served && session.count(Call::Timeout) > calls + 3
    });
    let turns = node.net().metrics().turns - turns;
    let calls = session.count(Call::Timeout) - calls;
    assert!(calls as u64 <= turns, "{calls} in {turns} turns");
}

#[test]
fn panics_of_timeout_and_wake_are_contained() {
    for (stage, call) in [
        (Stage::Handshaking, Call::Timeout),
        (Stage::Handshaking, Call::Wake),
        (Stage::Established, Call::Timeout),
        (Stage::Established, Call::Wake),
    ] {
        let session = Waits::with(stage, |state| {
            state.panics = true;
            state.timeout_after_receive = Some(Some(MS));
        });
        let (mut node, mut peer) = peer_of(&session);
        let conn = only_conn(&mut node);
        match call {
            Call::Wake => node.net().wake_session(conn),
            _ => peer.write_all(b"x").expect("room"),
        }
        run_until([&mut node], |[node]| {
            node.net().connecting_count() + node.net().connection_count() == 0
        });
        drop(peer);
        let failed = Event::ConnectFailed(conn, ConnectError::Session(SessionError::Panicked));
        let reason = DisconnectReason::Session(SessionError::Panicked);
        let ended = Event::Disconnect(conn, reason);
        run_until([&mut node], |[node]| {
            let last = node.handler().events.last();
            last == Some(&failed) || last == Some(&ended)
        });
    }
}

#[test]
fn timeout_waits_while_the_peer_does_not_read() {
    let session = Waits::with(Stage::Established, |state| {
        state.timeout = Some(MS);
        state.wire = vec![7; 1024 * 1024];
    });
    let (mut node, peer) = peer_of(&session);
    // Two calls or more fit into the buffers of the kernel.
    run_until([&mut node], |[_]| session.count(Call::Timeout) > 1);
    let mut before = 0;
    run_until([&mut node], |[node]| {
        run_for(20 * MS, [node]);
        std::mem::replace(&mut before, session.count(Call::Timeout)) == before
    });
    let reader = std::thread::spawn(move || {
        let mut peer = peer;
        let mut bytes = vec![0; 1024 * 1024];
        (0..64).for_each(|_| peer.read_exact(&mut bytes).expect("the output"));
    });
    run_until([&mut node], |[_]| session.count(Call::Timeout) > before);
    run_until([&mut node], |[_]| reader.is_finished());
    reader.join().expect("no panic");
}

#[test]
fn sequence_forwards_timeouts_and_wakes() {
    type Boxed = Box<dyn Session>;
    for call in [Call::Timeout, Call::Wake] {
        let session = |next| {
            Waits::with(Stage::Handshaking, |state| {
                state.timeout = (call == Call::Timeout).then_some(5 * MS);
                state.next_stage = Some(next);
            })
        };
        let (first, second) = (session(Stage::Transparent), session(Stage::Established));
        let parts = (first.clone(), second.clone());
        let recorder = with_sessions(Recorder::default(), move |_| {
            let [one, two]: [Boxed; 2] = [Box::new(parts.0.clone()), Box::new(parts.1.clone())];
            Sequence::new(one, two)
        });
        let (mut node, addr) = listening(untimed(), recorder);
        let mut peer = raw::connect(addr);
        peer.write_all(&frame(b"early")).expect("room");
        run_until([&mut node], |[node]| {
            node.net().connecting_count() + node.net().connection_count() == 1
        });
        let conn = only_conn(&mut node);
        for session in [&first, &second] {
            if call == Call::Wake {
                node.net().wake_session(conn);
            }
            run_until([&mut node], |_| session.count(call) > 0);
        }
        run_until([&mut node], |[node]| {
            node.handler().messages(conn) == [b"early"]
        });
        assert_eq!(first.count(call), 1, "it is transparent");
    }
}
