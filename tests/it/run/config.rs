//! The `Config` of a node.

use std::io::ErrorKind;
use std::time::Duration;

use crate::util::{Recorder, config_with, node};
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
