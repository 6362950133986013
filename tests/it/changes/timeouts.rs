//! `Net::set_timeouts` on real sockets. `simulation::changes` has exact times.

use std::time::{Duration, Instant};

use peerloop::config::Timeouts;
use peerloop::error::TimeoutKind;
use peerloop::{Config, ConnectError, DisconnectReason};

use super::{field, with_stale_id};
use crate::util::raw::{feed, until_ended, wire};
use crate::util::sessions::{Greeting, Manner, with_sessions};
use crate::util::{Event, Recorder, listening, run_for, run_until};

const TIME: Duration = Duration::from_millis(200);

fn idle(time: Option<Duration>) -> Timeouts {
    Timeouts {
        idle: time,
        ..Timeouts::default()
    }
}

#[test]
fn shorter_time_applies_from_the_last_message() {
    let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
    feed(&mut node, &mut peer, b"\0\0\0\x01x");
    let begun = Instant::now();
    node.net().set_timeouts(conn, idle(Some(TIME))).unwrap();
    let reason = until_ended(&mut node, conn);
    assert_eq!(reason, DisconnectReason::Timeout(TimeoutKind::Idle));
    // The message arrived just before.
    assert!(begun.elapsed() >= TIME / 2);
}

#[test]
fn longer_time_and_none_spare_the_connection() {
    for longer in [None, Some(Duration::from_secs(3600))] {
        let mut config = Config::default();
        config.connection.timeouts = idle(Some(TIME));
        let (mut node, conn, _peer) = wire(config, Recorder::default());
        node.net().set_timeouts(conn, idle(longer)).unwrap();
        run_for(2 * TIME, [&mut node]);
        assert_eq!(node.handler().ended(conn), None);
    }
}

#[test]
fn handshake_timeout_can_change() {
    let mut recorder = with_sessions(Recorder::default(), |_| Greeting::new(Manner::Silent));
    let mut silent = std::mem::replace(&mut recorder.sessions, Box::new(|_, _| Ok(None)));
    recorder.sessions = Box::new(move |net, conn| {
        let timeouts = Timeouts {
            handshake: Some(TIME),
            ..Timeouts::default()
        };
        net.set_timeouts(conn, timeouts).expect("valid timeouts");
        silent(net, conn)
    });
    let mut config = Config::default();
    config.connection.timeouts.handshake = None;
    let (mut node, addr) = listening(config, recorder);
    let begun = Instant::now();
    let _peer = crate::util::raw::connect(addr);
    let failed = |event: &Event| {
        matches!(
            event,
            Event::ConnectFailed(_, ConnectError::HandshakeTimedOut)
        )
    };
    run_until([&mut node], |[node]| node.handler().count(failed) == 1);
    assert!(begun.elapsed() >= TIME);
}

#[test]
fn zero_changes_nothing() {
    let (mut node, conn, _peer) = wire(Config::default(), Recorder::default());
    let zero = idle(Some(Duration::ZERO));
    let refused = node.net().set_timeouts(conn, zero);
    assert_eq!(field(refused), "timeouts.idle");
    let current = node.net().connection(conn).map(|it| it.config().timeouts);
    assert_eq!(current, Some(Timeouts::default()));
}

#[test]
fn stale_id_is_a_no_op() {
    let (mut node, conn) = with_stale_id();
    let before = node.timeout();
    assert_eq!(node.net().set_timeouts(conn, idle(Some(TIME))), Ok(()));
    assert_eq!(node.timeout(), before);
    let refused = node.net().set_timeouts(conn, idle(Some(Duration::ZERO)));
    assert_eq!(field(refused), "timeouts.idle");
}
