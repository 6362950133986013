//! `Net::set_max_message_len`.

use peerloop::framing::{Framing, LengthPrefix};
use peerloop::{Config, ConnId, DisconnectReason, Net, SendError};

use super::{field, with_stale_id};
use crate::util::framings::{config_with, encode, framings_for};
use crate::util::raw::{feed, settle, until_ended, wire};
use crate::util::{Event, Recorder, run_until};

/// Length of the long messages here.
const LEN: usize = 100;

/// Returns a handler that sets this maximum at the first message.
fn setting(max: usize) -> Recorder {
    let mut is_first = true;
    Recorder::reacting(move |net, event| match event {
        Event::Message(conn, _) if std::mem::take(&mut is_first) => {
            net.set_max_message_len(*conn, max).unwrap();
        }
        _ => {}
    })
}

/// Returns how much of the maximum a body of this length takes.
fn measured(framing: &Framing, len: usize) -> usize {
    match framing {
        Framing::Custom(_) => encode(framing, &vec![b'x'; len]).len(),
        _ => len,
    }
}

/// Returns a short message and a long one.
fn stream(framing: &Framing) -> Vec<u8> {
    [encode(framing, b"x"), encode(framing, &[b'y'; LEN])].concat()
}

/// The framings whose messages have different lengths.
fn variable() -> impl Iterator<Item = Framing> {
    framings_for(1)
        .into_iter()
        .filter(|framing| !matches!(framing, Framing::Fixed(_)))
}

#[test]
fn next_message_has_the_new_maximum() {
    for framing in variable() {
        let stream = stream(&framing);
        let max = measured(&framing, LEN);
        for cut in 1..stream.len() {
            for (new, arrives) in [(max, true), (max - 1, false)] {
                let mut config = config_with(&framing);
                config.connection.max_message_len = if arrives { 10 } else { 1000 };
                let (mut node, conn, mut peer) = wire(config, setting(new));
                let (first, second) = stream.split_at(cut);
                feed(&mut node, &mut peer, first);
                if node.handler().ended(conn).is_none() {
                    feed(&mut node, &mut peer, second);
                }
                if arrives {
                    let received = node.handler().messages(conn);
                    assert_eq!(received[1..], [[b'y'; LEN]], "{framing:?}, {cut}");
                } else {
                    assert_too_large(until_ended(&mut node, conn), max - 1);
                    assert_eq!(node.handler().messages(conn), [b"x"]);
                }
            }
        }
    }
}

#[track_caller]
fn assert_too_large(reason: DisconnectReason, max: usize) {
    match reason {
        DisconnectReason::MessageTooLarge { max: found, .. } => assert_eq!(found, max),
        other => panic!("{other}"),
    }
}

#[test]
fn incomplete_message_above_it_ends_at_once() {
    for framing in [
        Framing::default(),
        Framing::LengthDelimited(LengthPrefix::Varint),
        Framing::Delimited(b'\n'),
    ] {
        let (mut node, conn, mut peer) = wire(config_with(&framing), Recorder::default());
        let frame = encode(&framing, &[b'y'; LEN]);
        feed(&mut node, &mut peer, &frame[..frame.len() - 2]);
        node.net().set_max_message_len(conn, LEN).unwrap();
        settle(&mut node);
        assert_eq!(node.handler().ended(conn), None, "{framing:?}");
        node.net().set_max_message_len(conn, LEN - 10).unwrap();
        assert_too_large(until_ended(&mut node, conn), LEN - 10);
    }
}

#[test]
fn sends_have_the_new_maximum() {
    for framing in variable() {
        let (mut node, conn, _peer) = wire(config_with(&framing), Recorder::default());
        let max = measured(&framing, LEN);
        let send = |net: &mut Net, len| net.send(conn, vec![b'z'; len]);
        node.net().set_max_message_len(conn, max).unwrap();
        // The second one takes the path for a queue that is not empty.
        for _ in 0..2 {
            assert_eq!(send(node.net(), LEN), Ok(()));
            if !matches!(framing, Framing::Custom(_)) {
                assert_eq!(send(node.net(), LEN + 1), Err(SendError::TooLarge));
            }
        }
        node.net().set_max_message_len(conn, 10 * max).unwrap();
        assert_eq!(send(node.net(), LEN + 1), Ok(()));
    }
}

#[test]
fn paused_connection_has_it_after_the_pause() {
    let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
    feed(&mut node, &mut peer, &stream(&Framing::default())[..20]);
    node.net().pause(conn);
    node.net().set_max_message_len(conn, 10).unwrap();
    settle(&mut node);
    assert_eq!(node.handler().ended(conn), None);
    node.net().resume(conn);
    assert_too_large(until_ended(&mut node, conn), 10);
}

#[test]
fn invalid_maximum_changes_nothing() {
    let mut config = config_with(&Framing::Fixed(8));
    config.limits.loop_receive_bytes = 64 << 20;
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    let set = |net: &mut Net, conn: ConnId, max| net.set_max_message_len(conn, max);
    for max in [0, usize::MAX] {
        assert_eq!(field(set(node.net(), conn, max)), "max_message_len");
    }
    assert_eq!(field(set(node.net(), conn, 7)), "framing");
    let above = (32 << 20) + 1;
    assert_eq!(
        field(set(node.net(), conn, above)),
        "limits.loop_receive_bytes"
    );
    let current = node
        .net()
        .connection(conn)
        .map(|it| it.config().max_message_len);
    assert_eq!(current, Some(8 << 20));
    feed(&mut node, &mut peer, &[b'a'; 16]);
    run_until([&mut node], |[node]| {
        node.handler().messages(conn).len() == 2
    });
}

#[test]
fn stale_id_is_a_no_op() {
    let (mut node, conn) = with_stale_id();
    assert_eq!(node.net().set_max_message_len(conn, 10), Ok(()));
}
