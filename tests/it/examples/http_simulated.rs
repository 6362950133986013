//! The HTTP server of the example `metrics` with slow clients in the simulator,
//! and the limits of its framer.

#[path = "../../../examples/metrics/exposition.rs"]
mod exposition;
#[path = "../../../examples/metrics/http/mod.rs"]
mod http;
#[path = "../../../examples/metrics/service.rs"]
mod service;

use std::time::Duration;

use peerloop::Config;
use peerloop::framing::{Decoded, Framer};
use peerloop::sim::{NodeId, Wire, World};

use service::Service;

const REQUEST: &[u8] = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A server and a client.
fn world() -> (World, NodeId<Service>, Wire) {
    let mut world = World::new(1);
    let server = world.node(Config::default(), Service::default());
    let listening = world.with(server, |service, net| {
        service.listen(net, ([0, 0, 0, 0], 80).into())
    });
    let mut addr = world.addr(server);
    addr.set_port(listening.expect("the port is free").addr.port());
    let wire = world.wire(addr).expect("a listener");
    world.run_for(Duration::from_millis(100));
    assert!(world.is_wire_connected(wire));
    (world, server, wire)
}

/// Sends a byte every nine seconds, until the server closes the connection.
/// Returns the seconds until then and what the server has sent.
fn send_slowly(world: &mut World, wire: Wire, bytes: &[u8]) -> (u64, String) {
    let (mut received, mut seconds) = (Vec::new(), 0);
    while !matches!(world.read_wire(wire, &mut received), Ok(true) | Err(_)) {
        if seconds % 9 == 0 {
            let _ = world.write_wire(wire, &bytes[seconds / 9..][..1]);
        }
        world.run_for(Duration::from_secs(1));
        seconds += 1;
    }
    let received = String::from_utf8(received).expect("text");
    (seconds as u64, received)
}

#[test]
fn http_slow_first_head_is_answered_408() {
    let (mut world, _, wire) = world();
    let (seconds, received) = send_slowly(&mut world, wire, REQUEST);
    assert!((10..=11).contains(&seconds), "{seconds}");
    assert!(received.starts_with("HTTP/1.1 408 "), "{received}");
}

#[test]
fn http_slow_later_head_is_ended() {
    let (mut world, server, wire) = world();
    let request = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    world.write_wire(wire, request).expect("room");
    world.run_for(Duration::from_secs(1));
    let (seconds, received) = send_slowly(&mut world, wire, REQUEST);
    assert!((20..=21).contains(&seconds), "{seconds}");
    assert!(received.ends_with("\r\n\r\nok\n"), "{received}");
    assert_eq!(world.net(server).metrics().rate_timeouts, 1);
}

#[test]
fn http_slow_body_is_ended() {
    let (mut world, server, wire) = world();
    world.write_wire(wire, REQUEST).expect("room");
    world.run_for(Duration::from_secs(1));
    let (seconds, _) = send_slowly(&mut world, wire, b"1000\r\n");
    assert!((20..=21).contains(&seconds), "{seconds}");
    assert_eq!(world.net(server).metrics().rate_timeouts, 1);
}

#[test]
fn http_kept_connection_is_ended_when_idle() {
    let (mut world, server, wire) = world();
    let request = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    world.write_wire(wire, request).expect("room");
    let mut received = Vec::new();
    let mut seconds = 0;
    while !matches!(world.read_wire(wire, &mut received), Ok(true) | Err(_)) {
        world.run_for(Duration::from_secs(1));
        seconds += 1;
    }
    assert!((60..=61).contains(&seconds), "{seconds}");
    assert!(received.ends_with(b"\r\n\r\nok\n"));
    assert_eq!(world.net(server).metrics().idle_timeouts, 1);
}

/// The names of the fields are as `Debug` prints them.
#[test]
fn http_scrape_has_every_counter() {
    let (world, server, _) = world();
    let net = world.net(server);
    let (text, metrics) = (exposition::exposition(net), net.metrics());
    let udp = format!("{:?}", metrics.udp);
    let tcp = format!("{metrics:?} {:?}", net.traffic()).replace(&udp, "");
    for (prefix, fields, count) in [("", tcp, 50), ("udp_", udp, 8)] {
        let words = fields.split(' ').filter_map(|word| word.strip_suffix(':'));
        let names: Vec<&str> = words.filter(|name| *name != "udp").collect();
        assert!(names.len() >= count, "{names:?}");
        for name in names {
            let is_there = |suffix| text.contains(&format!("\npeerloop_{prefix}{name}{suffix} "));
            assert!(is_there("") || is_there("_total"), "{prefix}{name}: {text}");
        }
    }
}

/// A search from the beginning for each byte would take hours.
#[test]
fn http_framer_searches_each_byte_once() {
    let mut body = b"1\r\nx\r\n".repeat(100_000);
    body.extend(b"0\r\na: ");
    body.resize(http::BODY_MAX - 4, b'b');
    body.extend(b"\r\n\r\n");
    let mut framer = http::Requests::default();
    for message in [REQUEST, &body] {
        for len in 1..message.len() {
            let decoded = framer.decode(&message[..len]);
            assert!(matches!(decoded, Ok(Decoded::Incomplete { .. })), "{len}");
        }
        let decoded = framer.decode(message);
        let whole = 0..message.len();
        assert!(matches!(decoded, Ok(Decoded::Frame { body, .. }) if body == whole));
    }
}

#[test]
fn http_body_limit_is_exact_in_any_pieces() {
    for len in [http::BODY_MAX, http::BODY_MAX + 1] {
        let mut body = b"3\r\nabc\r\n0\r\na: ".to_vec();
        body.resize(len - 4, b'b');
        body.extend(b"\r\n\r\n");
        for piece in [len, len - 1, len / 2, 4096] {
            let mut framer = http::Requests::default();
            framer.decode(REQUEST).expect("a head");
            let lengths = (piece..len).step_by(piece).chain([len]);
            let decoded = lengths.map(|len| framer.decode(&body[..len]));
            let end = decoded.into_iter().find_map(|decoded| match decoded {
                Ok(Decoded::Frame { consumed, .. }) => Some(consumed),
                _ => None,
            });
            let end = end.expect("a body or a refusal");
            let mut request = http::Request::parse(REQUEST).expect("a request");
            let content = request.content(&body[..end]);
            if len <= http::BODY_MAX {
                assert_eq!((end, content.as_deref()), (len, Ok(&b"abc"[..])), "{piece}");
            } else {
                assert_eq!(content, Err(http::Status::CONTENT_TOO_LARGE), "{piece}");
            }
        }
    }
}
