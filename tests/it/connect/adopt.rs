//! `adopt`: streams that the program connected or accepted itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::util::sockets::saturated;
use crate::util::{PATIENCE, Recorder, config_with, frame, node, raw, run_until};
use peerloop::{
    Admission, Config, ConnectError, ConnectionState, Direction, DisconnectReason, Turn,
};
use socket2::{Domain, Socket, Type};

/// Two ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    (ours, theirs)
}

#[test]
fn stream_is_served_and_charged() {
    for direction in [Direction::Inbound, Direction::Outbound] {
        let (ours, mut theirs) = pair();
        let addr = theirs.local_addr().unwrap();
        let config = config_with(|config| config.limits.max_connections = 1);
        // `on_accept` is not called, or it would refuse.
        let handler = Recorder {
            admission: Admission::Refuse,
            ..Recorder::default()
        };
        let mut node = node(config, handler);
        let conn = node.net().adopt(ours, direction).unwrap();
        let second = node.net().adopt(pair().0, direction);
        assert_eq!(second, Err(ConnectError::TooManyConnections));
        theirs.write_all(&frame(b"hello")).unwrap();
        run_until([&mut node], |[node]| {
            node.handler().messages(conn) == [b"hello"]
        });
        let info = node.net().connection(conn).unwrap().info();
        assert_eq!((info.direction, info.addr), (direction, addr));
        assert_eq!(info.listener, None);
        assert_eq!(node.net().connection_count_of(direction), 1);
        node.net().send_and_close(conn, "bye").unwrap();
        raw::settle(&mut node);
        let mut reply = [0; 7];
        theirs.read_exact(&mut reply).unwrap();
        assert_eq!(reply[..], frame(b"bye"));
    }
}

/// The program keeps a descriptor of the stream, so that closing the other one
/// does not end the registration (epoll(7)).
#[test]
fn duplicate_of_an_ended_stream_wakes_nothing() {
    let mut node = node(Config::default(), Recorder::default());
    let (ours, mut theirs) = pair();
    let kept = ours.try_clone().unwrap();
    let conn = node.net().adopt(ours, Direction::Inbound).unwrap();
    run_until([&mut node], |[node]| {
        node.handler().connected().contains(&conn)
    });
    node.net().abort(conn);
    assert_eq!(raw::until_ended(&mut node, conn), DisconnectReason::Local);
    // The connection lives on, because a descriptor is left.
    theirs.write_all(b"x").unwrap();
    kept.set_nonblocking(false).unwrap();
    assert_eq!(kept.peek(&mut [0]).unwrap(), 1);
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(node.net().metrics().stale_events, 0);
}

/// The program may have duplicated a descriptor that it has asked for. The next
/// connection has the same slot.
#[cfg(unix)]
#[test]
fn duplicate_of_a_library_socket_wakes_nothing() {
    let (mut node, conn, mut peer) = raw::wire(Config::default(), Recorder::default());
    let addr = peer.peer_addr().unwrap();
    let socket = node.net().socket(conn).unwrap();
    let kept = TcpStream::from(socket.try_clone_to_owned().unwrap());
    node.net().abort(conn);
    assert_eq!(raw::until_ended(&mut node, conn), DisconnectReason::Local);
    let (next, mut other) = raw::join(&mut node, addr);
    peer.write_all(b"x").unwrap();
    raw::feed(&mut node, &mut other, &frame(b"hello"));
    assert_eq!(node.handler().messages(next), [b"hello"]);
    assert_eq!(node.handler().ended(next), None);
    assert_eq!(node.turn(Some(Duration::ZERO)).unwrap(), Turn::Waiting);
    assert_eq!(node.net().metrics().stale_events, 0);
    drop(kept);
}

/// On 32-bit targets their token would be that of the connect in the same slot.
#[cfg(unix)]
#[test]
fn duplicate_of_a_library_socket_connects_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = node(Config::default(), Recorder::default());
    let conn = node.net().connect(listener.local_addr().unwrap()).unwrap();
    run_until([&mut node], |[node]| {
        node.handler().connected().contains(&conn)
    });
    let mut peer = listener.accept().unwrap().0;
    let socket = node.net().socket(conn).unwrap();
    let _kept = socket.try_clone_to_owned().unwrap();
    node.net().abort(conn);
    assert_eq!(raw::until_ended(&mut node, conn), DisconnectReason::Local);
    let silent = saturated();
    let next = node.net().connect(silent.addr).unwrap();
    raw::settle(&mut node);
    peer.write_all(b"x").unwrap();
    let _ = node.turn(Some(Duration::from_millis(100))).unwrap();
    let state = node.net().connection(next).map(|it| it.state());
    assert_eq!(state, Some(ConnectionState::Connecting));
}

#[test]
fn options_are_those_of_the_stream() {
    let mut node = node(Config::default(), Recorder::default());
    let mut options = node.connect_options();
    options.connection_mut().max_message_len = 3;
    let (ours, mut theirs) = pair();
    let adopted = node.net().adopt_with(ours, Direction::Inbound, options);
    theirs.write_all(&frame(b"long")).unwrap();
    let reason = raw::until_ended(&mut node, adopted.unwrap());
    assert_eq!(reason, DisconnectReason::MessageTooLarge { len: 4, max: 3 });

    let mut options = node.connect_options();
    options.source = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let adopted = node.net().adopt_with(pair().0, Direction::Inbound, options);
    assert_eq!(adopted, Err(ConnectError::InvalidOption("source")));
}

#[test]
fn unconnected_stream_is_an_error() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let mut node = node(Config::default(), Recorder::default());
    let result = node.net().adopt(socket.into(), Direction::Inbound);
    let Err(ConnectError::Io(error)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(error.kind, ErrorKind::NotConnected);
    assert_eq!(node.net().connecting_count(), 0);
}
