//! No message is delivered after a close or an abort.

use peerloop::{ConnId, DisconnectReason, Net};

use crate::receive::pause::{at_messages_from, batch};
use crate::util::framings::framings;
use crate::util::raw::{feed, settle, until_ended, wire};
use crate::util::streams::{assert_callbacks, patient_config};
use crate::util::{Recorder, frame};

const VERBS: [fn(&mut Net, ConnId); 2] = [Net::close, Net::abort];

#[test]
fn close_in_on_message_drops_those_already_read() {
    for framing in framings() {
        for verb in VERBS {
            let (config, bodies, stream) = batch(&framing);
            let (mut node, conn, mut peer) = wire(config, at_messages_from(3, verb));
            feed(&mut node, &mut peer, &stream);
            assert_eq!(node.handler().messages(conn), bodies[..3], "{framing:?}");
            drop(peer);
            until_ended(&mut node, conn);
            assert_callbacks(&node, conn, &bodies[..3], DisconnectReason::Local);
        }
    }
}

#[test]
fn close_drops_messages_that_a_pause_kept() {
    for framing in framings() {
        for verb in VERBS {
            for resumed in [false, true] {
                let (config, bodies, stream) = batch(&framing);
                let handler = at_messages_from(2, |net, conn| net.pause(conn));
                let (mut node, conn, mut peer) = wire(config, handler);
                feed(&mut node, &mut peer, &stream);
                let delivered = if resumed {
                    node.handler_mut().reaction = at_messages_from(2, verb).reaction;
                    node.net().resume(conn);
                    settle(&mut node);
                    4
                } else {
                    verb(node.net(), conn);
                    node.net().resume(conn);
                    2
                };
                drop(peer);
                until_ended(&mut node, conn);
                assert_callbacks(&node, conn, &bodies[..delivered], DisconnectReason::Local);
            }
        }
    }
}

#[test]
fn malformed_frame_after_close_is_discarded() {
    let (mut node, conn, mut peer) = wire(patient_config(), Recorder::default());
    feed(&mut node, &mut peer, &frame(b"one")[..6]);
    node.net().close(conn);
    feed(&mut node, &mut peer, &[0xff; 3000]);
    feed(&mut node, &mut peer, &frame(b"two"));
    drop(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    assert!(node.handler().messages(conn).is_empty());
    assert_eq!(node.net().metrics().framing_errors, 0);
}
