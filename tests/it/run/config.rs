//! The `Config` of a node.

use std::io::ErrorKind;
use std::time::Duration;

use crate::util::{
    Event, LARGEST_RATE, Recorder, config_with, largest_rates, node, pair, run_until,
};
use peerloop::config::{MinRate, Ping, Timeouts, TurnBudget};
use peerloop::error::ConfigError;
use peerloop::{Config, Node};

#[test]
fn invalid_field_is_named_by_node_new() {
    type Change = fn(&mut Config);
    let cases: [(&str, Change); 5] = [
        ("max_message_len", |it| it.connection.max_message_len = 0),
        ("read_buffer_bytes", |it| it.read_buffer_bytes = 4095),
        ("sockets.send_buffer_bytes", |it| {
            it.sockets.send_buffer_bytes = Some(0);
        }),
        ("sockets.receive_buffer_bytes", |it| {
            it.sockets.receive_buffer_bytes = Some(0);
        }),
        ("timeouts.linger", |it| {
            it.connection.timeouts.linger = Some(Duration::ZERO);
        }),
    ];
    for (field, change) in cases {
        let error = Node::new(config_with(change), Recorder::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(field), "{error}");
        let inner = error.into_inner().expect("the reason");
        let inner = inner.downcast::<ConfigError>().expect("its type");
        assert_eq!(inner.field, field);
    }
}

#[test]
fn net_returns_the_config_and_the_name() {
    let config = config_with(|config| {
        config.name = "Ada".to_owned();
        config.limits.max_connections = 7;
        config.connection.timeouts.connect = None;
    });
    let mut named = node(config, Recorder::default());
    assert_eq!(named.net().name(), "Ada");
    assert_eq!(named.net().config().limits.max_connections, 7);
    assert_eq!(named.net().config().connection.timeouts.connect, None);
    let names = [(); 2].map(|()| {
        let mut unnamed = node(Config::default(), Recorder::default());
        let name = unnamed.net().name().to_owned();
        name.parse::<u64>().expect("a number")
    });
    assert_ne!(names[0], names[1]);
}

#[test]
fn largest_values_do_not_overflow() {
    let longest = Some(Duration::MAX);
    let config = config_with(|config| {
        config.accept_backoff = Duration::MAX;
        config.slow_turn = longest;
        config.budget = TurnBudget {
            read_bytes: usize::MAX,
            write_bytes: usize::MAX,
            accepts: usize::MAX,
            handshake_steps: usize::MAX,
            commands: usize::MAX,
            datagrams: usize::MAX,
            max_visit_time: Duration::MAX,
            max_turn_time: Duration::MAX,
        };
        config.connection.timeouts = Timeouts {
            connect: longest,
            handshake: longest,
            idle: longest,
            receive_idle: longest,
            partial_message: longest,
            write_stall: longest,
            linger: longest,
        };
        config.connection.min_rate = MinRate {
            receive_bytes_per_second: Some(u32::MAX),
            send_bytes_per_second: Some(u32::MAX),
            after: Duration::MAX,
        };
        config.connection.ping = Some(Ping {
            after: Duration::MAX,
            ..Default::default()
        });
        config.connection.rate = largest_rates();
        config.limits.rate_per_address = largest_rates();
        config.limits.accepts_per_address = Some(LARGEST_RATE);
        config.limits.handshakes_per_address = Some(LARGEST_RATE);
    });
    let (mut a, conn, mut b, _) = pair(config, Recorder::default(), Recorder::echo());
    a.net().send(conn, "x").expect("there is room");
    run_until([&mut a, &mut b], |[a, _]| {
        let events = &a.handler().events;
        events.contains(&Event::Message(conn, b"x".to_vec()))
    });
    a.net().set_timer(Duration::MAX, 1);
    a.net().close(conn);
    run_until([&mut a, &mut b], |[a, _]| a.net().connection_count() == 0);
}
