//! Slots that are reserved for outbound connections or for a listener, and networks
//! that are exempt from the limit per address.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};

use crate::util::raw::accepted;
use crate::util::sockets::connect_from;
use crate::util::{Recorder, TestNode, config_with, listening, run_until};
use peerloop::config::ListenerLimits;
use peerloop::error::ConfigError;
use peerloop::{Config, ConnectError, Listening};

fn with_16_slots() -> (TestNode, SocketAddr) {
    let config = config_with(|config| config.limits.max_connections = 16);
    listening(config, Recorder::echo())
}

fn listen(node: &mut TestNode, limits: ListenerLimits) -> std::io::Result<Listening> {
    let mut options = node.listen_options();
    options.limits = limits;
    node.net().listen_with("127.0.0.1:0", options)
}

/// Connects a peer. Returns it if it is admitted and its message is answered.
fn joined(node: &mut TestNode, addr: SocketAddr) -> Option<TcpStream> {
    let mut peer = connect_from([127, 0, 0, 2], addr);
    let before = node.net().traffic().messages_sent;
    let mut is_refused = false;
    peer.set_nonblocking(true).unwrap();
    let _ = peer.write_all(b"\0\0\0\x01x");
    run_until([node], |[node]| {
        is_refused = match peer.peek(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        is_refused || node.net().traffic().messages_sent > before
    });
    (!is_refused).then_some(peer)
}

/// Connects peers until one is refused.
fn fill(node: &mut TestNode, addr: SocketAddr) -> Vec<TcpStream> {
    std::iter::from_fn(|| joined(node, addr)).collect()
}

#[test]
fn node_full_of_inbound_connections_connects() {
    let (mut node, addr) = with_16_slots();
    let (mut other, elsewhere) = listening(Config::default(), Recorder::default());
    let inbound = fill(&mut node, addr);
    assert_eq!(inbound.len(), 14);
    let mut connect = || {
        let mut options = node.connect_options();
        options.allow_duplicate = true;
        node.net().connect_with(elsewhere, options)
    };
    let connects = [connect(), connect()].map(|conn| conn.expect("it has a slot"));
    let refused = connect().expect_err("no slot is free");
    assert_eq!(refused, ConnectError::TooManyConnections);
    // The inbound connections were refused with this text when two slots were free.
    assert!(refused.to_string().contains("reserved"), "{refused}");
    run_until([&mut node, &mut other], |[node, _]| {
        let connected = node.handler().connected();
        connects.iter().all(|conn| connected.contains(conn))
    });
}

#[test]
fn full_node_serves_listener_with_reservation() {
    let (mut node, addr) = with_16_slots();
    let limits = ListenerLimits {
        reserved_connections: 2,
        max_connections: Some(3),
        ..ListenerLimits::default()
    };
    let reserved = listen(&mut node, limits).unwrap();
    let mut inbound = fill(&mut node, addr);
    assert_eq!(inbound.len(), 12);
    let mut scrapers = fill(&mut node, reserved.addr);
    assert_eq!(scrapers.len(), 2, "the node is full");
    scrapers.pop();
    run_until([&mut node], |[node]| node.net().connection_count() == 13);
    assert!(joined(&mut node, addr).is_none(), "the slot is reserved");
    // Other free slots are used too, up to the listener's own limit.
    inbound.truncate(8);
    run_until([&mut node], |[node]| node.net().connection_count() == 9);
    scrapers.extend(fill(&mut node, reserved.addr));
    assert_eq!(scrapers.len(), 3, "the limit of the listener");
    node.net().close_listener(reserved.id);
    let more = fill(&mut node, addr);
    assert_eq!(more.len(), 3, "8 and 3 are taken, 2 are for connects");
}

#[test]
fn impossible_listener_limits_are_named() {
    let (mut node, _) = with_16_slots();
    let limits = ListenerLimits::default();
    let reserving = |reserved_connections, max_connections| ListenerLimits {
        reserved_connections,
        max_connections,
        ..limits
    };
    let no_handshakes = ListenerLimits {
        max_handshakes: Some(0),
        ..limits
    };
    for (limits, field) in [
        (reserving(0, Some(0)), "limits.max_connections"),
        (no_handshakes, "limits.max_handshakes"),
        (reserving(15, None), "limits.reserved_connections"),
        (reserving(3, Some(2)), "limits.reserved_connections"),
    ] {
        let error = listen(&mut node, limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let inner = error.into_inner().expect("an error of the library");
        let error = inner.downcast::<ConfigError>().expect("its type");
        assert_eq!(error.field, field);
    }
    assert_eq!(node.net().listeners().count(), 1);
}

#[test]
fn exempt_network_has_no_limit_per_address() {
    let config = config_with(|config| {
        config.limits.max_connections_per_address = 1;
        config.limits.exempt_networks = vec!["127.0.0.2/31".parse().unwrap()];
    });
    let (mut node, addr) = listening(config, Recorder::default());
    let hosts = [2, 3, 2, 3, 2, 3, 4];
    let _peers = hosts.map(|host| {
        let peer = connect_from([127, 0, 0, host], addr);
        accepted(&mut node);
        peer
    });
    let _refused = connect_from([127, 0, 0, 4], addr);
    run_until([&mut node], |[node]| {
        node.net().metrics().refused_by_address == 1
    });
    assert_eq!(node.net().connection_count(), hosts.len());
}
