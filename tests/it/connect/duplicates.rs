//! Second connections to an address.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use crate::util::raw::until_ended;
use crate::util::sockets::{refusing, saturated};
use crate::util::{Event, Recorder, config_with, listening, node, pair, run_for, run_until};
use peerloop::{Config, ConnId, ConnectError, Net};

/// All limits are 1, so that a connection that has ended and is still counted
/// is in the way of the next.
fn tight() -> Config {
    config_with(|config| {
        config.limits.max_connections = 1;
        config.limits.max_connections_per_address = 1;
        config.limits.max_outbound_connecting = 1;
    })
}

#[test]
fn connecting_address_is_refused_in_every_form() {
    let saturated = saturated();
    let silent = saturated.addr;
    // The reason is the duplicate, although every limit is reached as well.
    let mut node = node(tight(), Recorder::default());
    let conn = node.net().connect(silent).unwrap();
    let forms = [
        silent,
        SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), silent.port())),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, silent.port())),
    ];
    for form in forms {
        let refused = node.net().connect(form);
        assert_eq!(refused, Err(ConnectError::AlreadyConnecting), "{form}");
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
    }
    let connecting: Vec<ConnId> = node.net().connecting().map(|it| it.id()).collect();
    assert_eq!(connecting, [conn]);
    assert_eq!(node.net().metrics().connects_started, 1);
}

#[test]
fn connected_address_is_refused_on_both_ends() {
    let (mut connector, conn, mut listener, here) =
        pair(tight(), Recorder::default(), Recorder::default());
    let addr = connector.net().connection(conn).unwrap().info().addr;
    let refused = connector.net().connect(addr);
    assert_eq!(refused, Err(ConnectError::AlreadyConnected));
    let back = listener.net().connection(here).unwrap().info().addr;
    let refused = listener.net().connect(back);
    assert_eq!(refused, Err(ConnectError::AlreadyConnected));
    let refused = connector.net().connect("127.0.0.2:1");
    assert_eq!(refused, Err(ConnectError::TooManyConnections));
    run_for(Duration::from_millis(10), [&mut connector, &mut listener]);
    let expected = [Event::Start, Event::Connect(conn)];
    assert_eq!(connector.handler().events, expected);
}

#[test]
fn config_and_options_allow_duplicates() {
    for by_config in [true, false] {
        let config = config_with(|config| config.allow_duplicates = by_config);
        let (mut listener, addr) = listening(Config::default(), Recorder::default());
        let mut node = node(config, Recorder::default());
        for _ in 0..3 {
            let mut options = node.net().connect_options();
            assert_eq!(options.allow_duplicate, by_config);
            options.allow_duplicate = true;
            node.net().connect_with(addr, options).unwrap();
        }
        let mut options = node.net().connect_options();
        options.allow_duplicate = false;
        let refused = node.net().connect_with(addr, options);
        assert_eq!(refused, Err(ConnectError::AlreadyConnecting));
        run_until([&mut node, &mut listener], |[node, listener]| {
            node.handler().connected().len() == 3 && listener.handler().connected().len() == 3
        });
        let refused = node.net().connect(addr).err();
        let expected = (!by_config).then_some(ConnectError::AlreadyConnected);
        assert_eq!(refused, expected);
    }
}

/// Connects again from the last callback of each connection.
fn reconnecting() -> Recorder {
    Recorder::reacting(|net: &mut Net, event: &Event| {
        if let Event::Disconnect(conn, _) | Event::ConnectFailed(conn, _) = event {
            let view = net.connection(*conn).expect("it is known to the end");
            let addr = view.info().addr;
            net.connect(addr).expect("nothing is left of it");
        }
    })
}

#[test]
fn on_disconnect_may_connect_again() {
    let (mut listener, addr) = listening(Config::default(), Recorder::default());
    let mut node = node(tight(), reconnecting());
    node.net().connect(addr).unwrap();
    for count in 1..=5 {
        run_until([&mut node, &mut listener], |nodes| {
            let mut nodes = nodes.iter();
            nodes.all(|node| node.handler().connected().len() == count)
        });
        let [here, there] = [&node, &listener].map(|it| it.handler().connected()[count - 1]);
        match count % 2 {
            0 => node.net().abort(here),
            _ => listener.net().close(there),
        }
    }
}

#[test]
fn on_connect_failed_may_connect_again() {
    let (_socket, addr) = refusing();
    let mut node = node(tight(), reconnecting());
    node.net().connect(addr).unwrap();
    run_until([&mut node], |[node]| node.handler().events.len() >= 6);
    assert_eq!(node.handler().connected(), []);
    assert_eq!(node.net().connecting_count(), 1);
}

#[test]
fn lingering_connection_is_no_duplicate() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = other.local_addr().unwrap();
    let mut node = node(Config::default(), Recorder::default());
    let old = node.net().connect(addr).unwrap();
    run_until([&mut node], |[node]| node.handler().connected() == [old]);
    // The peer does not close its side, so that the connection lingers.
    node.net().close(old);
    let new = node.net().connect(addr).unwrap();
    run_until([&mut node], |[node]| {
        node.handler().connected() == [old, new]
    });
    assert_eq!(node.handler().ended(old), None);
    let refused = node.net().connect(addr);
    assert_eq!(refused, Err(ConnectError::AlreadyConnected));
    node.net().abort(old);
    until_ended(&mut node, old);
    let refused = node.net().connect(addr);
    assert_eq!(refused, Err(ConnectError::AlreadyConnected));
}
