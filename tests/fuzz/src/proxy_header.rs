//! PROXY headers against a simple parser, through a whole node.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use peerloop::config::{ConnectionConfig, TrustedProxies};
use peerloop::framing::Framing;
use peerloop::sim::{Faults, World};
use peerloop::{Config, ConnId, Handler, Net};

use crate::input::Input;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

#[derive(Default)]
struct Server {
    ends: Option<(SocketAddr, Option<SocketAddr>)>,
    received: Vec<u8>,
}

impl Handler for Server {
    fn on_start(&mut self, net: &mut Net) {
        let mut options = net.listen_options();
        let proxies = "10.128.0.0/9".parse().expect("a network");
        options.proxy_protocol = Some(TrustedProxies::new([proxies]));
        net.listen_with("0.0.0.0:7000", options)
            .expect("the port is free");
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let info = net.connection(conn).expect("it is open").info();
        assert_eq!(self.ends, None, "one connection");
        self.ends = Some((info.addr, info.local_addr));
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
        self.received.extend_from_slice(message);
    }
}

/// The ends in a header, if it has any, and the length of the header.
type Header = (Option<(SocketAddr, SocketAddr)>, usize);

/// Parses the header at the beginning of a stream, if it is valid and complete.
fn parse(stream: &[u8]) -> Option<Header> {
    if let Some(rest) = stream.strip_prefix(SIGNATURE) {
        return parse_binary(rest);
    }
    let end = stream.windows(2).position(|two| two == b"\r\n")?;
    if end + 2 > 107 {
        return None;
    }
    let line = &stream[..end];
    if line == b"PROXY UNKNOWN" || line.starts_with(b"PROXY UNKNOWN ") {
        return Some((None, end + 2));
    }
    let fields: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let &["PROXY", protocol, from, to, from_port, to_port] = fields.as_slice() else {
        return None;
    };
    let ip = |text: &str| {
        let ip: IpAddr = text.parse().ok()?;
        let is_of_protocol = protocol == if ip.is_ipv4() { "TCP4" } else { "TCP6" };
        is_of_protocol.then_some(ip)
    };
    let port = |text: &str| {
        let port: u16 = text.parse().ok()?;
        (port.to_string() == text).then_some(port)
    };
    let source = SocketAddr::new(ip(from)?, port(from_port)?);
    let destination = SocketAddr::new(ip(to)?, port(to_port)?);
    Some((Some((source, destination)), end + 2))
}

fn parse_binary(rest: &[u8]) -> Option<Header> {
    let (&[command, protocol, high, low], rest) = rest.split_first_chunk()?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    let block = rest.get(..len)?;
    let addr = |at: usize, size: usize| {
        let ip: IpAddr = match size {
            4 => <[u8; 4]>::try_from(&block[at * 4..][..4]).ok()?.into(),
            _ => <[u8; 16]>::try_from(&block[at * 16..][..16]).ok()?.into(),
        };
        let port = <[u8; 2]>::try_from(&block[2 * size + 2 * at..][..2]).ok()?;
        Some(SocketAddr::new(ip, u16::from_be_bytes(port)))
    };
    let size = match (command, protocol) {
        (0x20, _) | (0x21, 0x00) => 0,
        (0x21, 0x31) if len >= 216 => 0,
        (0x21, 0x11) if len >= 12 => 4,
        (0x21, 0x21) if len >= 36 => 16,
        _ => return None,
    };
    let ends = if size == 0 {
        None
    } else {
        Some((addr(0, size)?, addr(1, size)?))
    };
    Some((ends, 16 + len))
}

/// The stream of a client: bytes of the input behind the beginning of a header,
/// with one byte changed or none.
fn stream(input: &mut Input<'_>) -> Vec<u8> {
    let mut stream = match input.below(7) {
        0 => Vec::new(),
        1 => b"PROXY TCP4 ".to_vec(),
        2 => b"PROXY UNKNOWN".to_vec(),
        3 => b"PROXY TCP4 203.0.113.9 10.0.0.1 54321 7000\r\n".to_vec(),
        4 => b"PROXY TCP6 2001:db8::9 :: 1 65535\r\n".to_vec(),
        5 => [SIGNATURE, &[0x21]].concat(),
        _ => {
            let protocol = [0x00, 0x11, 0x21, 0x31][input.below(4)];
            let command = [0x21, 0x20][input.below(2)];
            [SIGNATURE, &[command, protocol, 0]].concat()
        }
    };
    let (at, change) = (input.below(256), input.byte());
    stream.extend_from_slice(input.take(400));
    if input.below(2) == 0 && at < stream.len() {
        stream[at] ^= change;
    }
    stream
}

/// Sends a stream to a node behind a proxy, in pieces, and closes.
pub fn proxy_header(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(u64::from(input.byte()));
    world.faults([Faults::calm(), Faults::hostile().lossless()][input.below(2)].clone());
    let piece = 1 + input.below(256);
    let stream = stream(&mut input);
    let config = Config {
        connection: ConnectionConfig {
            framing: Framing::Raw,
            ..Default::default()
        },
        ..Config::default()
    };
    let node = world.node(config, Server::default());
    world.run_for(Duration::from_millis(100));
    let addr = world.addr(node);
    let Ok(wire) = world.wire(addr) else { return };
    world.run_for(Duration::from_secs(2));
    if !world.is_wire_connected(wire) {
        return;
    }
    let mut sent = Vec::new();
    for piece in stream.chunks(piece) {
        // The write fails once the node has closed the connection.
        let written = world.write_wire(wire, piece).unwrap_or(0);
        sent.extend_from_slice(&piece[..written]);
        world.run_for(Duration::from_millis(5));
    }
    let _ = world.shutdown_wire(wire);
    world.run_for(Duration::from_secs(10));
    let expected = parse(&sent);
    let errors = world.net(node).metrics().proxy_header_errors;
    world.with(node, |server, _| match expected {
        None => assert_eq!((server.ends, errors), (None, 1), "{sent:?}"),
        Some((ends, len)) => {
            let found = server.ends.expect("a connection");
            if let Some((source, destination)) = ends {
                let [source, destination] = [source, destination].map(peerloop::to_canonical);
                assert_eq!(found, (source, Some(destination)));
            } else {
                assert_eq!(found.1, Some(addr));
            }
            assert_eq!((&server.received[..], errors), (&sent[len..], 0));
        }
    });
}
