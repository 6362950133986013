//! `ConnectionConfig::ping`.

use std::time::Duration;

use peerloop::Config;
use peerloop::config::{Ping, Timeouts};
use peerloop::framing::Framing;

use super::{OFF, TIME, config};
use crate::util::framings::Netstring;
use crate::util::{Recorder, pair, run_for, run_until};

/// Pings three times as often as it expects something.
fn pinging() -> Config {
    let mut config = config(Timeouts {
        idle: Some(10 * TIME),
        receive_idle: Some(10 * TIME),
        ..OFF
    });
    config.connection.ping = Some(Ping {
        after: TIME / 3,
        message: b"ping"[..].into(),
    });
    config
}

#[test]
fn nodes_that_ping_stay_connected() {
    let framings = [Framing::default(), Framing::custom(|| Netstring)];
    for framing in framings {
        let mut config = pinging();
        config.connection.framing = framing;
        let handlers = [0; 2].map(|_| Recorder::default());
        let [a, b] = handlers;
        let (mut one, there, mut other, here) = pair(config, a, b);
        run_for(11 * TIME, [&mut one, &mut other]);
        run_until([&mut one, &mut other], |[one, other]| {
            one.handler().messages(there).len() > 5 && other.handler().messages(here).len() > 5
        });
        for (node, conn) in [(&mut one, there), (&mut other, here)] {
            assert_eq!(node.handler().ended(conn), None);
            assert!(
                node.handler()
                    .messages(conn)
                    .iter()
                    .all(|it| *it == b"ping")
            );
            let sent = node.net().connection(conn).unwrap().traffic().messages_sent;
            assert_eq!(node.net().metrics().pings_sent, sent);
        }
    }
}

#[test]
fn ping_takes_few_turns() {
    const AFTER: Duration = Duration::from_millis(50);
    let mut config = pinging();
    config.connection.ping = Some(Ping {
        after: AFTER,
        message: b"ping"[..].into(),
    });
    let (mut node, _conn, _peer) = crate::util::raw::wire(config, Recorder::default());
    let before = node.net().metrics().turns;
    // Without a bound on the wait, so that only pings end it.
    for _ in 0..20 {
        let _ = node.turn(Some(20 * AFTER)).unwrap();
    }
    let metrics = node.net().metrics();
    let (turns, pings) = (metrics.turns - before, metrics.pings_sent);
    // A write may be later than its turn's beginning, and then the deadline is
    // early once.
    assert!(2 * pings >= turns, "{pings} pings in {turns} turns");
}
