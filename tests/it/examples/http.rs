//! The HTTP server of the example `metrics`, on raw sockets.

mod refusals;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::SystemTime;

use super::process::Process;
use crate::util::raw::connect;

/// Starts the example. Returns it with the address of its HTTP listener.
fn start() -> (Process, SocketAddr) {
    let mut service = Process::start("metrics", &[]);
    let (_echo, http) = (service.address(), service.address());
    (service, http.parse().expect("an address"))
}

/// Sends a request, and returns what the server sends until it closes.
#[track_caller]
fn exchange(addr: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut client = connect(addr);
    client.write_all(request.as_ref()).expect("room");
    rest(client)
}

/// Returns what the server sends until it closes.
#[track_caller]
fn rest(mut client: TcpStream) -> String {
    let mut response = String::new();
    client.read_to_string(&mut response).expect("a clean end");
    response
}

/// Removes the dates of responses.
#[track_caller]
fn undated(responses: &str) -> String {
    let mut parts = responses.split("Date: ");
    let mut undated = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (date, rest) = part.split_once("\r\n").expect("a line");
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
        undated += rest;
    }
    undated
}

/// Reads up to the end of a head.
#[track_caller]
fn read_head(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("a response");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// The statuses of all responses in a text, in which no content has a version.
fn statuses(responses: &str) -> Vec<&str> {
    let parts = responses.split("HTTP/1.1 ").skip(1);
    parts.map(|part| &part[..3]).collect()
}

#[track_caller]
fn assert_refused(addr: SocketAddr, request: impl AsRef<[u8]>, status: &str) {
    let response = exchange(addr, &request);
    let request = String::from_utf8_lossy(request.as_ref());
    let request = &request[..request.len().min(200)];
    let expected = format!("HTTP/1.1 {status} ");
    assert!(response.starts_with(&expected), "{request:?}: {response}");
    assert_eq!(statuses(&response).len(), 1, "{request:?}: {response}");
    assert!(
        response.contains("Connection: close\r\n"),
        "{request:?}: {response}"
    );
}

#[test]
fn http_scrape_returns_counters() {
    let (_service, addr) = start();
    let request = "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let response = exchange(addr, request);
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(
        response.contains("\npeerloop_connections 1\n"),
        "{response}"
    );
}

/// A server with a clock sends its time with each final response (RFC 9110,
/// section 6.6.1).
#[test]
fn http_responses_have_the_date() {
    let (_service, addr) = start();
    let before = httpdate::HttpDate::from(SystemTime::now());
    for request in [
        "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /nothing HTTP/1.0\r\n\r\n",
        "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let response = exchange(addr, request);
        let date = response
            .lines()
            .find_map(|line| line.strip_prefix("Date: "));
        let date = date.unwrap_or_else(|| panic!("no date: {response}"));
        let date: httpdate::HttpDate = date.parse().expect("a date");
        let after = httpdate::HttpDate::from(SystemTime::now());
        assert!((before..=after).contains(&date), "{response}");
    }
}

#[test]
fn http_pipeline_is_answered_in_order() {
    let (_service, addr) = start();
    let pipeline = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n\
        \r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\
        POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        2;x=\"y\"\r\ntw\r\n001\r\no\r\n0\r\nX-Trailer: z\r\n\r\n\
        HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n\
        GET HTTP://a/nothing?x HTTP/1.1\r\nHost: a\r\n\r\n\
        GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
        GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    let whole = undated(&exchange(addr, pipeline));
    assert_eq!(statuses(&whole), ["200", "200", "200", "200", "404", "200"]);
    let order = ["\r\n\r\nok\n", "one", "two", "404", "GET /metrics"];
    let places = order.map(|text| {
        whole
            .find(text)
            .unwrap_or_else(|| panic!("no {text}: {whole}"))
    });
    assert!(places.is_sorted(), "{whole}");
    for split in 1..pipeline.len() {
        let mut client = connect(addr);
        let (first, second) = pipeline.split_at(split);
        client.write_all(first.as_bytes()).expect("room");
        // The end may have been answered already.
        let _ = client.write_all(second.as_bytes());
        assert_eq!(undated(&rest(client)), whole, "split at {split}");
    }
    let mut client = connect(addr);
    for byte in pipeline.as_bytes() {
        let _ = client.write_all(&[*byte]);
    }
    assert_eq!(undated(&rest(client)), whole, "byte by byte");
}

#[test]
fn http_versions_decide_about_connection() {
    let (_service, addr) = start();
    let get = |version: &str, fields: &str| format!("GET /health {version}\r\n{fields}\r\n");
    let closing = [
        get("HTTP/1.0", ""),
        get("HTTP/1.0", "Host: a\r\nConnection: close, keep-alive\r\n"),
        get("HTTP/1.1", "Host: a\r\nconnection: x, CLOSE\r\n"),
        get(
            "HTTP/1.2",
            "Host: a\r\nConnection: x\r\nConnection: close\r\n",
        ),
    ];
    for request in closing {
        let response = exchange(addr, &request);
        assert!(response.contains("Connection: close\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\nok\n"), "{response}");
    }
    let keeping = [
        get("HTTP/1.0", "Connection: Keep-Alive\r\n"),
        get("HTTP/1.1", "Host: a\r\n"),
    ];
    for request in keeping {
        let mut client = connect(addr);
        for _ in 0..2 {
            client.write_all(request.as_bytes()).expect("room");
            let head = read_head(&mut client);
            assert!(head.contains("Connection: keep-alive\r\n"), "{head}");
            client.read_exact(&mut [0; 3]).expect("the content");
        }
        client.shutdown(Shutdown::Write).expect("a connection");
        assert_eq!(rest(client), "");
    }
}

#[test]
fn http_head_has_fields_and_no_content() {
    let (_service, addr) = start();
    for path in ["/", "/health", "/metrics", "/nothing"] {
        let request =
            |method| format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let head = exchange(addr, request("HEAD"));
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        let get = exchange(addr, request("GET"));
        let (get, content) = get.split_once("\r\n\r\n").expect("a head");
        // The digits of the counters change.
        let same = |it: &str| it.lines().next().map(str::to_owned);
        assert_eq!(same(&head), same(get));
        let length = format!("Content-Length: {}\r\n", content.len());
        assert!(path == "/metrics" || head.contains(&length), "{head}");
    }
}

#[test]
fn http_expecting_client_gets_100_first() {
    let (_service, addr) = start();
    let mut client = connect(addr);
    let head =
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-Continue\r\n\r\n";
    let before = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    client
        .write_all(format!("{before}{head}").as_bytes())
        .expect("room");
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
    client.read_exact(&mut [0; 3]).expect("the content");
    assert_eq!(read_head(&mut client), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").expect("room");
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
    client.read_exact(&mut [0; 4]).expect("the content");
    // Neither without a body, nor with HTTP/1.0, nor if it is refused.
    let no_body =
        "GET /health HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    let old = "POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx";
    for request in [no_body, old] {
        assert_eq!(statuses(&exchange(addr, request)), ["200"]);
    }
    assert_refused(addr, head.replace("/echo", "/nothing"), "404");
    assert_refused(addr, head.replace("/echo", "/health"), "405");
    assert_refused(addr, head.replace(": 4", ": 9999999"), "413");
    assert_refused(addr, head.replace("100-", "200-"), "417");
}

/// The responses are longer than the queue and the buffers of the sockets, and
/// the client reads none of them before it has sent all requests.
#[test]
fn http_unread_responses_pause_requests() {
    const COUNT: usize = 3000;

    let (_service, addr) = start();
    let request = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = request.replace("a\r\n", "a\r\nConnection: close\r\n");
    let responses = exchange(addr, request.repeat(COUNT - 1) + &last);
    assert_eq!(statuses(&responses), ["200"; COUNT]);
}
