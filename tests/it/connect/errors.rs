//! `ConnectError`, returned by `connect` or reported by `on_connect_failed`.

use std::io::{self, ErrorKind};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::util::sockets::{bound, refusing};
use crate::util::{PATIENCE, Recorder, config_with, node};
use peerloop::error::OsError;
use peerloop::framing::Framing;
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, ConnectOptions, Direction, Handler, Net, Node,
};

#[test]
fn invalid_option_is_named_and_starts_nothing() {
    let mut node = node(Config::default(), Recorder::default());
    type Change = fn(&mut ConnectOptions);
    let cases: [(&str, Change); 5] = [
        ("source", |options| {
            options.bound_socket = Some(bound([127, 0, 0, 1]).into());
            options.source = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        }),
        ("source", |it| {
            it.source = Some(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)));
        }),
        ("max_message_len", |it| {
            it.connection_mut().max_message_len = 0;
        }),
        ("framing", |it| {
            it.connection_mut().framing = Framing::Fixed(0);
        }),
        ("timeouts.connect", |it| {
            it.connection_mut().timeouts.connect = Some(Duration::ZERO);
        }),
    ];
    for (field, change) in cases {
        let mut options = node.net().connect_options();
        change(&mut options);
        let refused = node.net().connect_with("127.0.0.1:9", options);
        assert_eq!(refused, Err(ConnectError::InvalidOption(field)));
    }
    assert_eq!(node.net().metrics().connects_started, 0);
    assert_eq!(node.net().connecting_count(), 0);
}

#[test]
fn invalid_address_points_to_connect_wait() {
    let mut node = node(Config::default(), Recorder::default());
    for text in ["localhost:80", "127.0.0.1", "127.0.0.1:0", ""] {
        let refused = node.net().connect(text);
        assert_eq!(refused, Err(ConnectError::InvalidAddress), "{text}");
    }
    let refused = node.net().connect(SocketAddr::from(([127, 0, 0, 1], 0)));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("connect_wait"), "{text}");
    assert_eq!(node.net().connecting_count(), 0);
}

#[test]
fn full_and_stopping_nodes_refuse() {
    let config = config_with(|config| config.limits.max_connections = 1);
    let mut node = node(config, Recorder::default());
    let net = node.net();
    net.connect("127.0.0.1:9").unwrap();
    let refused = net.connect("127.0.0.2:9");
    assert_eq!(refused, Err(ConnectError::TooManyConnections));
    net.shutdown(Duration::ZERO);
    assert_eq!(net.connect("127.0.0.1:9"), Err(ConnectError::ShuttingDown));
}

#[test]
fn refusals_become_io_errors_of_their_kind() {
    let cases = [
        (ConnectError::ShuttingDown, ErrorKind::Other),
        (ConnectError::SelfConnection, ErrorKind::AddrInUse),
        (ConnectError::AlreadyConnected, ErrorKind::AlreadyExists),
        (ConnectError::AlreadyConnecting, ErrorKind::AlreadyExists),
        (ConnectError::TooManyConnecting, ErrorKind::QuotaExceeded),
        (ConnectError::TooManyConnections, ErrorKind::QuotaExceeded),
        (ConnectError::TooManyFromAddress, ErrorKind::QuotaExceeded),
        (ConnectError::TooManyFromPrefix, ErrorKind::QuotaExceeded),
        (ConnectError::TimedOut, ErrorKind::TimedOut),
    ];
    for (error, kind) in cases {
        assert_eq!(io::Error::from(error).kind(), kind, "{error:?}");
    }
}

/// Keeps failures with their codes.
#[derive(Default)]
struct Failures(Vec<(ConnId, ConnInfo, OsError)>);

impl Handler for Failures {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_connect_failed(&mut self, _: &mut Net, conn: ConnId, info: &ConnInfo, it: ConnectError) {
        match it {
            ConnectError::Io(error) => self.0.push((conn, *info, error)),
            other => panic!("{other}"),
        }
    }
}

fn first_failure(node: &mut Node<Failures>) -> (ConnId, ConnInfo, OsError) {
    let end = Instant::now() + PATIENCE;
    while node.handler().0.is_empty() {
        let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
        assert!(Instant::now() < end, "no failure was reported");
    }
    node.handler().0[0]
}

#[test]
fn refused_connect_has_the_code_of_the_system() {
    let (_socket, addr) = refusing();
    let mut node = Node::new(Config::default(), Failures::default()).unwrap();
    let conn = node.net().connect(addr).unwrap();
    let (failed, info, error) = first_failure(&mut node);
    assert_eq!((failed, info.addr), (conn, addr));
    assert_eq!(info.direction, Direction::Outbound);
    assert_eq!(error.kind, ErrorKind::ConnectionRefused);
    let code = error.code.expect("a code of the system");
    let text = io::Error::from_raw_os_error(code).to_string();
    assert_eq!(error.to_string(), text);
    let error = io::Error::from(ConnectError::Io(error));
    assert_eq!(error.raw_os_error(), Some(code));
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn io_error_without_code_contains_the_error() {
    let error = ConnectError::Io(ErrorKind::ConnectionReset.into());
    let converted = io::Error::from(error);
    assert_eq!(converted.kind(), ErrorKind::ConnectionReset);
    assert_eq!(converted.downcast::<ConnectError>().ok(), Some(error));
}

#[test]
fn connected_socket_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut node = Node::new(Config::default(), Failures::default()).unwrap();
    let mut options = node.connect_options();
    options.bound_socket = Some(TcpStream::connect(addr).unwrap());
    node.net().connect_with(addr, options).unwrap();
    let text = first_failure(&mut node).2.to_string();
    assert!(text.contains("connected"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn descriptor_exhaustion_has_the_systems_text() {
    use crate::util::child::{self, test_path};

    if !child::is_child() {
        let test = test_path!(descriptor_exhaustion_has_the_systems_text);
        let output = child::command(test, Some(24)).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.contains("1 passed"), "{printed}");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let config = config_with(|config| config.allow_duplicates = true);
    let mut node = Node::new(config, Failures::default()).unwrap();
    for _ in 0..100 {
        let _ = node.net().connect(addr);
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
    }
    let text = first_failure(&mut node).2.to_string();
    assert!(text.contains("Too many open files"), "{text}");
}
