//! Aborts: the queue is dropped, the peer gets a reset.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peerloop::{Config, ConnId, DisconnectReason, Net, Turn};

use crate::util::raw::{settle, until_ended, wire};
use crate::util::streams::{
    drains, ends, fill, narrow_config, narrow_wire, queued_bytes, read_to_end, run_with,
};
use crate::util::{Event, Recorder, frame, run_for, run_until, turn};

#[test]
fn abort_in_any_state_resets_once() {
    let before: [fn(&mut Net, ConnId); 5] = [
        |_, _| {},
        |net, conn| net.send(conn, &[1; 1000]).unwrap(),
        |net, conn| net.close(conn),
        |net, conn| net.pause(conn),
        |net, conn| net.close_write(conn),
    ];
    for (index, act) in before.into_iter().enumerate() {
        for turn_between in [false, true] {
            let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
            act(node.net(), conn);
            if turn_between {
                settle(&mut node);
            }
            node.net().abort(conn);
            node.net().abort(conn);
            node.net().close(conn);
            assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
            run_for(Duration::from_millis(5), [&mut node]);
            assert_eq!(ends(&node), 1, "case {index}");
            let outcome = peer
                .read_to_end(&mut Vec::new())
                .map_err(|error| error.kind());
            // Where FIN was sent before, the peer has reached the end of the stream.
            let finished = turn_between && (index == 2 || index == 4);
            if !finished {
                assert_eq!(outcome, Err(ErrorKind::ConnectionReset), "case {index}");
            }
            assert_eq!(node.net().connection_count(), 0);
        }
    }
}

#[test]
fn abort_with_reason_reports_it() {
    for closing in [false, true] {
        let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
        if closing {
            node.net().send(conn, b"never sent").unwrap();
            node.net().close(conn);
        }
        node.net().abort_with_reason(conn, "an empty request");
        let reason = DisconnectReason::Application("an empty request");
        assert_eq!(until_ended(&mut node, conn), reason, "closing: {closing}");
        let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(ends(&node), 1);
    }
}

#[test]
fn abort_and_shutdown_in_one_turn_report_once() {
    let (mut node, conn, _peer) = wire(Config::default(), Recorder::default());
    node.net().abort(conn);
    node.net().shutdown(Duration::ZERO);
    run_until([&mut node], |[node]| {
        turn(node, Some(Duration::ZERO)) == Turn::Stopped
    });
    assert_eq!(node.handler().ended(conn), Some(DisconnectReason::Local));
    assert_eq!((ends(&node), node.net().metrics().disconnected), (1, 1));
}

#[test]
fn abort_with_full_queue_counts_lost_bytes() {
    let lost = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lost);
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Disconnect(conn, _) = event {
            seen.lock().unwrap().push(queued_bytes(net, *conn));
        }
    });
    let (mut node, conn, peer) = narrow_wire(narrow_config(), handler);
    let count = fill(&mut node, conn, 0, 996);
    let queued = queued_bytes(node.net(), conn);
    node.net().abort(conn);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    assert_eq!(*lost.lock().unwrap(), [queued]);
    let metrics = node.net().metrics();
    assert_eq!(
        (metrics.queued_bytes, metrics.bytes_lost),
        (0, queued as u64)
    );
    let reader = read_to_end(peer);
    let (arrived, outcome, _) = run_with(&mut node, reader);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(arrived.len() + queued <= count * 1000);
    assert_eq!((drains(&node), ends(&node)), (0, 1));
}

#[test]
fn abort_in_on_disconnect_does_not_reset() {
    let handler = Recorder::reacting(|net, event| match event {
        Event::Message(conn, _) => net.send(*conn, &[7; 50_000]).expect("there is room"),
        Event::Disconnect(conn, _) => net.abort(*conn),
        _ => {}
    });
    let (mut node, conn, mut peer) = wire(Config::default(), handler);
    peer.write_all(&frame(b"?")).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).expect("a clean end");
    assert_eq!(answer.len(), 50_004);
}
