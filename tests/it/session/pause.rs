//! `pause` and `resume` behind a session.

use std::time::Duration;

use super::{TRUNCATED, with_raw_peer};
use crate::util::raw::until_ended;
use crate::util::session_end::SessionEnd;
use crate::util::sessions::{Xor, sealed, untimed};
use crate::util::{Event, Recorder, pair, run_for, run_until};
use peerloop::DisconnectReason;
use peerloop::error::SessionError;

/// Pauses at the first message.
fn pausing() -> Recorder {
    let mut is_first = true;
    Recorder::reacting(move |net, event| match event {
        Event::Message(conn, _) if std::mem::take(&mut is_first) => net.pause(*conn),
        _ => {}
    })
}

/// Three messages arrive in one read together with an end. The first one pauses.
#[test]
fn end_waits_for_messages_that_a_pause_holds() {
    type Last = fn(&mut SessionEnd<Xor>) -> Vec<u8>;
    let forged = SessionError::Malformed("checksum");
    let ends: [(DisconnectReason, Last); 3] = [
        (DisconnectReason::PeerClosed, |end| end.close_notify()),
        (TRUNCATED, |_| Vec::new()),
        (DisconnectReason::Session(forged), |_| {
            vec![0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        }),
    ];
    for (reason, last) in ends {
        let (mut node, conn, mut peer) = with_raw_peer(untimed(), pausing());
        let messages = [b"one", b"two", b"six"].map(|body| peer.end.frame(body));
        let bytes = [messages.concat(), last(&mut peer.end)].concat();
        peer.feed(&mut node, &bytes);
        peer.finish();
        run_for(Duration::from_millis(10), [&mut node]);
        assert_eq!(node.handler().messages(conn).len(), 1);
        assert_eq!(node.handler().ended(conn), None, "messages are left");
        node.net().resume(conn);
        assert_eq!(until_ended(&mut node, conn), reason);
        assert_eq!(node.handler().messages(conn).len(), 3);
    }
}

#[test]
fn notification_is_seen_in_an_empty_pause() {
    let (mut node, conn, mut peer) = with_raw_peer(untimed(), pausing());
    let bytes = [peer.end.frame(b"one"), peer.end.close_notify()].concat();
    peer.write(&bytes);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
    assert_eq!(node.handler().messages(conn), [b"one"]);
}

#[test]
fn paused_records_arrive_in_order_after_resume() {
    let (mut a, to_b, mut b, to_a) =
        pair(untimed(), sealed(Recorder::default()), sealed(pausing()));
    for number in 0..1000_u32 {
        let body = number.to_be_bytes().repeat(50);
        a.net().send(to_b, body).expect("room");
    }
    run_for(Duration::from_millis(20), [&mut a, &mut b]);
    assert_eq!(b.handler().messages(to_a).len(), 1);
    b.net().resume(to_a);
    run_until([&mut a, &mut b], |[_, b]| {
        b.handler().messages(to_a).len() == 1000
    });
    for (number, message) in (0_u32..).zip(b.handler().messages(to_a)) {
        assert_eq!(message, number.to_be_bytes().repeat(50));
    }
}
