//! From dial to disconnect, on real sockets.

mod util;

use std::time::Duration;

use peerloop::{Config, ConnectError, DisconnectReason, PeerState, Side};
use util::{Event, Recorder, listening, node, pair, run_until};

#[test]
fn a_connection_begins_talks_and_ends_in_order_on_both_sides() {
    let (mut a, to_b, mut b, to_a) = pair(Config::default(), Recorder::default(), Recorder::echo());
    assert_eq!(a.net().peer(to_b).unwrap().side(), Side::Initiator);
    assert_eq!(b.net().peer(to_a).unwrap().side(), Side::Responder);
    a.net().send(to_b, b"hello").unwrap();
    run_until([&mut a, &mut b], |[a, _]| {
        !a.handler().messages(to_b).is_empty()
    });
    a.net().close(to_b);
    assert_eq!(a.net().peer(to_b).unwrap().state(), PeerState::Closing);
    run_until([&mut a, &mut b], |[a, b]| {
        a.handler().ended(to_b).is_some() && b.handler().ended(to_a).is_some()
    });
    let hello = b"hello".to_vec();
    let expected = [
        Event::Start,
        Event::Connect(to_b),
        Event::Message(to_b, hello.clone()),
        Event::Disconnect(to_b, DisconnectReason::Local),
    ];
    assert_eq!(a.handler().events, expected);
    let expected = [
        Event::Start,
        Event::Connect(to_a),
        Event::Message(to_a, hello),
        Event::Disconnect(to_a, DisconnectReason::PeerClosed),
    ];
    assert_eq!(b.handler().events, expected);
    assert!(a.net().peer(to_b).is_none());
    assert_eq!(a.net().connection_count(), 0);
}

#[test]
fn a_refused_dial_fails_once_and_never_connects() {
    let mut a = node(Config::default(), Recorder::default());
    let (mut b, addr) = listening(Config::default(), Recorder::default());
    b.net().unlisten(addr).unwrap();
    let conn = a.net().connect(addr).unwrap();
    run_until([&mut a], |[a]| a.handler().events.len() == 2);
    util::run_for(Duration::from_millis(50), [&mut a]);
    let refused = ConnectError::Io(std::io::ErrorKind::ConnectionRefused);
    assert_eq!(
        a.handler().events,
        [Event::Start, Event::ConnectFailed(conn, refused)]
    );
}
