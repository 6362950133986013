//! `ConnectOptions`, and the settings of sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::util::sockets::bound;
use crate::util::{Event, Recorder, listening, node, raw, run_until};
use peerloop::config::Keepalive;
use peerloop::framing::Framing;
use peerloop::{Config, ConnectError, Direction, DisconnectReason, SendError};

#[test]
fn source_is_the_address_at_the_peer() {
    for is_bound in [true, false] {
        let (mut listener, addr) = listening(Config::default(), Recorder::default());
        let mut connector = node(Config::default(), Recorder::default());
        let source = [127, 0, 0, 77];
        let mut options = connector.net().connect_options();
        if is_bound {
            options.bound_socket = Some(bound(source).into());
        } else {
            options.source = Some(SocketAddr::from((source, 0)));
        }
        let conn = connector.net().connect_with(addr, options).unwrap();
        run_until([&mut connector, &mut listener], |[connector, listener]| {
            connector.handler().connected() == [conn] && !listener.handler().connected().is_empty()
        });
        let here = listener.handler().connected()[0];
        let seen = listener.net().connection(here).unwrap().info().addr;
        assert_eq!(seen.ip(), IpAddr::from(source));
        let info = connector.net().connection(conn).unwrap().info();
        assert_eq!((info.addr, info.local_addr), (addr, Some(seen)));
        assert_eq!(info.direction, Direction::Outbound);
        assert_eq!(info.listener, None);
    }
}

#[test]
fn foreign_source_fails_later() {
    let mut node = node(Config::default(), Recorder::default());
    let mut options = node.net().connect_options();
    options.source = Some(SocketAddr::from(([192, 0, 2, 1], 0)));
    let conn = node.net().connect_with("127.0.0.1:9", options).unwrap();
    assert_eq!(node.net().connection(conn).unwrap().info().local_addr, None);
    run_until([&mut node], |[node]| node.handler().events.len() == 2);
    let error = ConnectError::Io(ErrorKind::AddrNotAvailable.into());
    let failed = Event::ConnectFailed(conn, error);
    assert_eq!(node.handler().events, [Event::Start, failed]);
}

#[test]
fn framing_and_maximum_are_those_of_the_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut node = node(Config::default(), Recorder::default());
    let mut options = node.net().connect_options();
    options.connection_mut().framing = Framing::Delimited(b'\n');
    options.connection_mut().max_message_len = 8;
    let conn = node.net().connect_with(addr, options).unwrap();
    run_until([&mut node], |[node]| node.handler().connected() == [conn]);
    let (mut peer, _) = listener.accept().unwrap();
    let net = node.net();
    net.send(conn, b"a line").unwrap();
    assert_eq!(net.send(conn, b"too long"), Ok(()));
    assert_eq!(net.send(conn, b"too long "), Err(SendError::TooLarge));
    net.send(conn, b"two\n").unwrap_err();
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    let mut received = [0; 16];
    peer.read_exact(&mut received).unwrap();
    assert_eq!(received, *b"a line\ntoo long\n");
    peer.write_all(b"answer\n123456789").unwrap();
    let reason = raw::until_ended(&mut node, conn);
    assert_eq!(node.handler().messages(conn), [b"answer"]);
    assert_eq!(reason, DisconnectReason::MessageTooLarge { len: 9, max: 8 });
}

#[cfg(unix)]
#[test]
fn socket_has_the_settings_until_its_end() {
    use crate::util::config_with;
    use socket2::SockRef;

    let config = config_with(|config| {
        config.sockets.keepalive = Some(Keepalive {
            idle: Some(Duration::from_secs(77)),
            interval: Some(Duration::from_secs(7)),
            retries: Some(5),
        });
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = node(config, Recorder::default());
    let mut options = node.net().connect_options();
    options.bound_socket = Some(bound([127, 0, 0, 1]).into());
    let addr = listener.local_addr().unwrap();
    let conn = node.net().connect_with(addr, options).unwrap();
    run_until([&mut node], |[node]| node.handler().connected() == [conn]);
    let net = node.net();
    let local_addr = net.connection(conn).unwrap().info().local_addr;
    let socket = net.socket(conn).expect("it is open");
    let socket = SockRef::from(&socket);
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    assert_eq!(
        socket.tcp_keepalive_time().unwrap(),
        Duration::from_secs(77)
    );
    assert_eq!(socket.local_addr().unwrap().as_socket(), local_addr);
    node.net().abort(conn);
    raw::until_ended(&mut node, conn);
    assert!(node.net().socket(conn).is_none(), "the id is stale");
}

/// Checks the options of connected, accepted and adopted sockets.
#[cfg(target_os = "linux")]
#[test]
fn sockets_have_keepalive_and_user_timeout() {
    use crate::util::config_with;
    use socket2::SockRef;

    let keepalive = Keepalive {
        idle: Some(Duration::from_secs(77)),
        interval: Some(Duration::from_secs(7)),
        retries: Some(5),
    };
    let user_timeout = Some(Duration::from_millis(12_345));
    let config = config_with(|config| {
        config.sockets.keepalive = Some(keepalive);
        config.sockets.user_timeout = user_timeout;
    });
    let (mut listener, addr) = listening(config.clone(), Recorder::default());
    let inherited = TcpListener::bind("127.0.0.1:0").unwrap();
    let other_addr = inherited.local_addr().unwrap();
    let options = listener.net().listen_options();
    listener.net().listen_on(inherited, options).unwrap();
    let mut connector = node(config, Recorder::default());
    connector.net().connect(other_addr).unwrap();
    let stream = TcpStream::connect(addr).unwrap();
    connector.net().adopt(stream, Direction::Outbound).unwrap();
    run_until([&mut connector, &mut listener], |nodes| {
        nodes.iter().all(|it| it.handler().connected().len() == 2)
    });
    for node in [&mut connector, &mut listener] {
        for conn in node.handler().connected() {
            let socket = node.net().socket(conn).expect("it is open");
            let socket = SockRef::from(&socket);
            let set = Keepalive {
                idle: socket.tcp_keepalive_time().ok(),
                interval: socket.tcp_keepalive_interval().ok(),
                retries: socket.tcp_keepalive_retries().ok(),
            };
            assert!(socket.keepalive().unwrap());
            assert_eq!(set, keepalive);
            assert_eq!(socket.tcp_user_timeout().unwrap(), user_timeout);
        }
    }
}

#[cfg(unix)]
#[test]
fn nodelay_is_that_of_the_config() {
    use crate::util::config_with;
    use socket2::SockRef;

    for nodelay in [false, true] {
        let config = config_with(|config| config.sockets.nodelay = nodelay);
        let (mut listener, addr) = listening(config.clone(), Recorder::default());
        let mut connector = node(config, Recorder::default());
        connector.net().connect(addr).unwrap();
        run_until([&mut connector, &mut listener], |nodes| {
            nodes.iter().all(|it| !it.handler().connected().is_empty())
        });
        for node in [&mut connector, &mut listener] {
            let conn = node.handler().connected()[0];
            let socket = node.net().socket(conn).expect("it is open");
            assert_eq!(SockRef::from(&socket).tcp_nodelay().unwrap(), nodelay);
        }
    }
}
