//! Requests that the HTTP server refuses, and its response.

use std::io::Write;

use super::{assert_refused, exchange, rest, start, statuses};
use crate::util::raw::connect;

#[test]
fn http_unsupported_requests_are_refused() {
    let (_service, addr) = start();
    let long = "x".repeat(8000);
    let fields = "a: b\r\n".repeat(64);
    let large = format!("a: {long}\r\nb: {long}\r\n");
    for (request, status) in [
        ("GET /health HTTP/2.0\r\n\r\n", "505"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
        ("GET /health HTTP/0.9\r\n\r\n", "505"),
        ("BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", "501"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "501"),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "501",
        ),
        (
            &format!("GET /{long}{long}{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            "414",
        ),
        (&format!("GET /{long}{long}{long}"), "414"),
        (&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), "431"),
        (
            &format!("GET / HTTP/1.1\r\nHost: a\r\n{large}{large}"),
            "431",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n",
            "413",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "413",
        ),
        (
            "GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
            "405",
        ),
        (
            "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
            "404",
        ),
    ] {
        assert_refused(addr, request, status);
    }
    for (request, allow) in [
        (
            "POST /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET, HEAD",
        ),
        (
            "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "POST",
        ),
    ] {
        let response = exchange(addr, request);
        assert_eq!(statuses(&response), ["405"]);
        assert!(
            response.contains(&format!("\r\nAllow: {allow}\r\n")),
            "{response}"
        );
    }
}

#[test]
fn http_ambiguous_requests_are_refused() {
    let (_service, addr) = start();
    for head in [
        "GET",
        "GET /",
        "GET / HTTP/1.1 ",
        "GET  / HTTP/1.1",
        "GET /\tHTTP/1.1",
        " GET / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET health HTTP/1.1",
        "GET http:///health HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET /\u{e4} HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.10",
        "GET / HTTP/11",
    ] {
        assert_refused(addr, format!("{head}\r\nHost: a\r\n\r\n"), "400");
    }
    for fields in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a, b\r\n",
        "Host: a/b\r\n",
        "Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        "Host: a\r\nContent-Length: 1, 1\r\n",
        "Host: a\r\nContent-Length: +1\r\n",
        "Host: a\r\nContent-Length: -1\r\n",
        "Host: a\r\nContent-Length: 0x1\r\n",
        "Host: a\r\nContent-Length: 1 1\r\n",
        "Host: a\r\nContent-Length:\r\n",
        "Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked, gzip\r\n",
        "Host: a\r\nTransfer-Encoding: identity\r\n",
        "Host: a\r\nTransfer-Encoding:\r\n",
        "Host: a\r\nTransfer-Encoding: \u{b}chunked\r\n",
        "Host: a\r\nTransfer-Encoding : chunked\r\n",
        "Host : a\r\n",
        "Host: a\r\n: b\r\n",
        "Host: a\r\nno colon\r\n",
        "Host: a\r\nA: b\r\n c\r\n",
        " A: b\r\nHost: a\r\n",
        "Host: a\r\nA: b\0c\r\n",
        "Host: a\r\nA: b\u{c}\r\n",
        "Host: a\r\nA: b\rc\r\n",
        "Host: a\r\nA: b\n",
        "Host: a\r\nA: b\r\r\n",
    ] {
        assert_refused(addr, format!("POST /echo HTTP/1.1\r\n{fields}\r\n"), "400");
    }
    let old = "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_refused(addr, old, "400");
    assert_refused(addr, "GET / HTTP/1.1\nHost: a\n\n", "400");
    assert_refused(addr, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    // A TLS client.
    assert_refused(
        addr,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
        "400",
    );
}

#[test]
fn http_malformed_chunks_are_refused() {
    let (_service, addr) = start();
    for (body, status) in [
        ("\r\n", "400"),
        ("x\r\n", "400"),
        ("+1\r\nx\r\n0\r\n\r\n", "400"),
        ("0x1\r\nx\r\n0\r\n\r\n", "400"),
        ("1 \r\nx\r\n0\r\n\r\n", "400"),
        (" 1\r\nx\r\n0\r\n\r\n", "400"),
        ("1,\r\nx\r\n0\r\n\r\n", "400"),
        ("1\u{c};a\r\nx\r\n0\r\n\r\n", "400"),
        ("1;a\0\r\nx\r\n0\r\n\r\n", "400"),
        ("1;a\rb\r\nx\r\n0\r\n\r\n", "400"),
        ("1\nx\r\n0\r\n\r\n", "400"),
        ("1\r\nxx\r\n0\r\n\r\n", "400"),
        ("1\r\nxyz0\r\n\r\n", "400"),
        ("1\r\nx\n0\r\n\r\n\r\n", "400"),
        ("0\r\nno colon\r\n\r\n", "400"),
        ("0\r\na : b\r\n\r\n", "400"),
        (&format!("0\r\n{}", "a: b\r\n".repeat(1 << 18)), "413"),
        (&format!("1;{}", "a".repeat(1 << 20)), "413"),
        ("100001\r\n", "413"),
        ("ffffffffffffffffffff\r\n", "413"),
        (
            &format!("{:x}\r\n{}\r\n", 1 << 19, "y".repeat(1 << 19)).repeat(3),
            "413",
        ),
    ] {
        let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_refused(addr, format!("{head}{body}"), status);
    }
}

/// The response arrives although the client sends on for a long time, and does
/// not read before it has sent everything.
#[test]
fn http_refusal_reaches_client_that_sends_on() {
    let (_service, addr) = start();
    let mut client = connect(addr);
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n";
    client.write_all(head.as_bytes()).expect("room");
    for _ in 0..50 {
        client
            .write_all(&[b'x'; 1_000_000])
            .expect("the server reads");
    }
    assert_eq!(statuses(&rest(client)), ["413"]);
}
