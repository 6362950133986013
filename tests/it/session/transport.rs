//! Errors of `Handler::transport`. A connection without the session that it
//! needs ends, and no plaintext is sent.

use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use crate::util::{Event, Recorder, config_with, node, raw, run_for, run_until};
use peerloop::error::TransportError;
use peerloop::{Config, ConnectError};

#[test]
fn missing_sessions_fail_closed() {
    let failing = Recorder {
        sessions: Box::new(|_, _| Err(std::io::Error::other("no key"))),
        ..Recorder::default()
    };
    let required = config_with(|config| config.connection.require_session = true);
    let cases = [
        (
            required,
            Recorder::default(),
            TransportError::SessionRequired,
        ),
        (Config::default(), failing, TransportError::Handler),
    ];
    for (config, handler, expected) in cases {
        let mut node = node(config, handler);
        let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut inbound = raw::connect(addr);
        let conn = node.net().connect(other.local_addr().unwrap()).unwrap();
        run_until([&mut node], |[node]| node.handler().events.len() == 3);
        let (mut outbound, _) = other.accept().unwrap();
        run_for(Duration::from_millis(5), [&mut node]);
        let error = ConnectError::Transport(expected);
        let failed = node.handler().events[1..].iter().map(|event| match event {
            Event::ConnectFailed(conn, which) if *which == error => *conn,
            other => panic!("{other:?}"),
        });
        let failed: Vec<_> = failed.collect();
        assert!(failed.len() == 2 && failed[0] != failed[1], "{failed:?}");
        assert!(failed.contains(&conn));
        for peer in [&mut inbound, &mut outbound] {
            let mut received = Vec::new();
            let _ = peer.read_to_end(&mut received);
            assert_eq!(received, b"", "no plaintext");
        }
        assert_eq!(node.net().connection_count(), 0);
        assert_eq!(node.net().connecting_count(), 0);
    }
}
