//! `Timeouts::linger`: a close that the peer does not complete ends in time.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use peerloop::error::TimeoutKind;
use peerloop::{DisconnectReason, SendOutcome};

use crate::util::raw::{until_ended, wire};
use crate::util::streams::{
    assert_same, ends, fill, fill_tracked, frames, lingering, narrow_config, narrow_wire, outcomes,
    patient_config,
};
use crate::util::{Recorder, frame, run_until};

const LINGER: Duration = Duration::from_millis(200);

#[test]
fn linger_timeout_reports_lost_bytes() {
    for left in [true, false] {
        let mut config = narrow_config();
        config.connection.timeouts = lingering(LINGER);
        let (mut node, conn, mut peer) = narrow_wire(config, Recorder::default());
        match left {
            true => assert!(fill(&mut node, conn, 0, 996) > 0),
            false => node.net().send(conn, b"last").unwrap(),
        }
        let begun = Instant::now();
        node.net().close(conn);
        let reason = until_ended(&mut node, conn);
        assert!(begun.elapsed() >= LINGER, "{:?}", begun.elapsed());
        let metrics = node.net().metrics();
        if left {
            assert_eq!(reason, DisconnectReason::Timeout(TimeoutKind::Linger));
            assert!(metrics.bytes_lost > 0);
        } else {
            assert_eq!(reason, DisconnectReason::Local);
            assert_eq!(metrics.bytes_lost, 0);
            let mut arrived = Vec::new();
            peer.read_to_end(&mut arrived).unwrap();
            assert_same(&arrived, &frame(b"last"));
        }
        assert_eq!(metrics.linger_timeouts, u64::from(left));
        assert_eq!((metrics.queued_bytes, ends(&node)), (0, 1));
    }
}

#[test]
fn linger_timeout_after_fin_ends_stalled_answer() {
    let mut config = narrow_config();
    config.connection.timeouts = lingering(LINGER);
    let (mut node, conn, peer) = narrow_wire(config, Recorder::default());
    let count = fill_tracked(&mut node, conn, 996);
    let begun = Instant::now();
    peer.shutdown(Shutdown::Write).unwrap();
    let reason = until_ended(&mut node, conn);
    assert!(begun.elapsed() >= LINGER);
    assert_eq!(reason, DisconnectReason::Timeout(TimeoutKind::Linger));
    assert_eq!(outcomes(&node).len(), count);
    assert_eq!(outcomes(&node).last().unwrap().1, SendOutcome::Lost);
    assert_eq!(node.net().metrics().queued_bytes, 0);
}

#[test]
fn linger_timeout_ends_a_peer_that_keeps_sending() {
    let mut config = patient_config();
    config.connection.timeouts = lingering(LINGER);
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    let sender = thread::spawn(move || {
        let block = frames(0..100, 100);
        while peer.write_all(&block).is_ok() {}
    });
    run_until([&mut node], |[node]| {
        !node.handler().messages(conn).is_empty()
    });
    let received = node.handler().messages(conn).len();
    let begun = Instant::now();
    node.net().close(conn);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    assert!(begun.elapsed() >= LINGER);
    sender.join().unwrap();
    assert_eq!(node.handler().messages(conn).len(), received);
    assert_eq!(ends(&node), 1);
}
