//! Connections of a node to itself.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::util::raw::{connect, feed, join};
use crate::util::sockets::{bound, local_addr};
use crate::util::{
    Event, Recorder, TestNode, config_with, frame, listening, node, run_for, run_until,
};
use peerloop::{Config, ConnectError, ConnectOptions, DisconnectReason};

#[track_caller]
fn assert_echoes(node: &mut TestNode, peer: &mut TcpStream) {
    feed(node, peer, &frame(b"hello"));
    let mut answer = [0; 9];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..], frame(b"hello"));
}

/// Connects a node to itself. Only the refusal is reported, and other peers are
/// served.
#[track_caller]
fn assert_refused(mut node: TestNode, port: u16, to: SocketAddr, options: ConnectOptions) {
    let other = SocketAddr::from(([127, 0, 0, 1], port));
    let (known, mut peer) = join(&mut node, other);
    let begun = node.handler().events.len();
    let conn = node.net().connect_with(to, options).unwrap();
    run_until([&mut node], |[node]| {
        node.net().metrics().self_connections > 0 && node.net().connecting_count() == 0
    });
    run_for(Duration::from_millis(20), [&mut node]);
    let reported = &node.handler().events[begun..];
    let failed = [Event::ConnectFailed(conn, ConnectError::SelfConnection)];
    let ended = [
        Event::Connect(conn),
        Event::Disconnect(conn, DisconnectReason::SelfConnection),
    ];
    assert!(reported == failed || reported == ended, "{reported:?}");
    assert_echoes(&mut node, &mut peer);
    let (_, mut later) = join(&mut node, other);
    assert_echoes(&mut node, &mut later);
    assert_eq!(node.handler().ended(known), None);
    assert_eq!(node.net().metrics().self_connections, 1);
    assert_eq!(node.net().connection_count(), 2);
}

#[test]
fn every_address_of_the_host_is_refused() {
    let v4 = |last| IpAddr::from([127, 0, 0, last]);
    let (any_v4, any_v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped().into();
    let cases: [(&str, IpAddr, Option<IpAddr>); 9] = [
        ("127.0.0.1:0", v4(1), None),
        ("0.0.0.0:0", v4(1), None),
        ("0.0.0.0:0", any_v4, None),
        ("0.0.0.0:0", v4(5), None),
        ("0.0.0.0:0", v4(1), Some(v4(9))),
        ("[::]:0", v4(1), None),
        ("[::]:0", Ipv6Addr::LOCALHOST.into(), None),
        ("[::]:0", any_v6, None),
        ("[::]:0", mapped, None),
    ];
    for (listen, ip, source) in cases {
        let mut node = node(Config::default(), Recorder::echo());
        let port = match node.net().listen(listen) {
            Ok(listening) => listening.addr.port(),
            Err(error) => {
                assert!(listen.starts_with('['), "{listen}: {error}");
                continue;
            }
        };
        let mut options = node.connect_options();
        options.source = source.map(|ip| SocketAddr::from((ip, 0)));
        assert_refused(node, port, SocketAddr::from((ip, port)), options);
    }
}

#[test]
fn socket_connected_to_itself_is_refused() {
    let (node, addr) = listening(Config::default(), Recorder::echo());
    let socket = bound([127, 0, 0, 1]);
    let own = local_addr(&socket);
    let mut options = node.connect_options();
    options.bound_socket = Some(socket.into());
    assert_refused(node, addr.port(), own, options);
}

#[test]
fn late_inbound_end_ends_the_connection() {
    let config = config_with(|config| config.budget.accepts = 1);
    let (mut node, addr) = listening(config, Recorder::echo());
    // These are accepted first, one in each turn, and `on_connect` is called
    // meanwhile.
    let mut ahead: Vec<TcpStream> = (0..5).map(|_| connect(addr)).collect();
    let conn = node.net().connect(addr).unwrap();
    run_until([&mut node], |[node]| {
        node.handler().ended(conn).is_some() && node.handler().connected().len() == 6
    });
    let reason = node.handler().ended(conn);
    assert_eq!(reason, Some(DisconnectReason::SelfConnection));
    assert_eq!(node.net().metrics().self_connections, 1);
    for peer in &mut ahead {
        assert_echoes(&mut node, peer);
    }
    assert_eq!(node.net().connection_count(), 5);
}

#[test]
fn allowed_self_connections_carry_messages() {
    for has_listener in [true, false] {
        let config = config_with(|config| config.allow_self_connections = true);
        let (mut node, addr) = listening(config, Recorder::default());
        let mut options = node.connect_options();
        let mut to = addr;
        if !has_listener {
            let socket = bound([127, 0, 0, 1]);
            to = local_addr(&socket);
            options.bound_socket = Some(socket.into());
        }
        let conn = node.net().connect_with(to, options).unwrap();
        let ends = 1 + usize::from(has_listener);
        run_until([&mut node], |[node]| {
            node.handler().connected().len() == ends
        });
        let mut ends = node.handler().connected();
        ends.retain(|end| !has_listener || *end != conn);
        node.net().send(conn, b"to myself").unwrap();
        run_until([&mut node], |[node]| {
            node.handler().messages(ends[0]) == [b"to myself"]
        });
        assert_eq!(node.net().metrics().self_connections, 0);
    }
}
