//! The `metrics` example, run in a process of its own and scraped over real sockets.

use std::collections::HashMap;
use std::env::{self, consts};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// How long something may take before the test fails. Far more than needed: these machines are shared.
const PATIENCE: Duration = Duration::from_secs(120);

/// The running example. It is killed at the end of the test, whichever end that is.
struct Service {
    child: Child,
    echo: SocketAddr,
    metrics: SocketAddr,
}

impl Service {
    fn start() -> Self {
        let mut child = Command::new(executable())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let lines = lines(child.stdout.take().expect("a pipe"));
        let echo = address(&lines, "echo on ");
        let metrics = address(&lines, "metrics on ");
        Self {
            child,
            echo,
            metrics,
        }
    }

    /// What is answered to a request, until the end of the stream.
    fn ask(&self, request: &[u8]) -> Response {
        let mut peer = connect(self.metrics);
        peer.write_all(request).expect("the request is taken");
        Response::read(peer)
    }

    fn scrape(&self) -> HashMap<String, u64> {
        let response = self.ask(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(response.status, "HTTP/1.1 200 OK");
        response.samples()
    }

    /// Scrapes until the values are there: an end is seen by the other side before it is counted.
    fn scrape_until(&self, condition: impl Fn(&HashMap<String, u64>) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let samples = self.scrape();
            if condition(&samples) {
                return;
            }
            assert!(Instant::now() < end, "it does not come about: {samples:#?}");
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail if it has ended by itself, which is just as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cargo puts examples beside the directory of the test executables.
fn executable() -> PathBuf {
    let test = env::current_exe().expect("a path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let path = profile
        .join("examples")
        .join(format!("metrics{}", consts::EXE_SUFFIX));
    let shown = path.display();
    assert!(path.exists(), "no {shown}: run `cargo build --examples`");
    path
}

/// Reads a stream line by line, so that the test can wait for a line with a bound.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn address(lines: &Receiver<String>, prefix: &str) -> SocketAddr {
    let line = lines.recv_timeout(PATIENCE).expect("a line");
    let addr = line.strip_prefix(prefix).expect("the line that is due");
    addr.parse().expect("an address")
}

fn connect(addr: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(addr).expect("somebody listens");
    peer.set_nodelay(true).expect("a connection");
    peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
    peer.set_write_timeout(Some(PATIENCE)).expect("not zero");
    peer
}

/// Sends messages in the default framing and waits for their return.
fn exchange(peer: &mut TcpStream, count: usize, body: &[u8]) {
    for _ in 0..count {
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(body);
        peer.write_all(&frame).expect("the message is taken");
        let mut answer = vec![0; frame.len()];
        peer.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, frame);
    }
}

struct Response {
    status: String,
    headers: Vec<String>,
    body: String,
}

impl Response {
    /// Reads to the end of the stream, which has to come by itself and behind exactly the body that was announced.
    fn read(mut peer: TcpStream) -> Self {
        let mut text = String::new();
        peer.read_to_string(&mut text).expect("a whole response");
        let (head, body) = text.split_once("\r\n\r\n").expect("the end of a head");
        let mut lines = head.split("\r\n").map(str::to_owned);
        let status = lines.next().expect("a status line");
        let headers: Vec<String> = lines.collect();
        let length = format!("Content-Length: {}", body.len());
        assert!(headers.contains(&length), "{head}");
        assert!(headers.contains(&"Connection: close".to_owned()), "{head}");
        let body = body.to_owned();
        Self {
            status,
            headers,
            body,
        }
    }

    /// The values, by name. Each has to have its help and its type before it.
    fn samples(&self) -> HashMap<String, u64> {
        let lines: Vec<&str> = self.body.lines().collect();
        let mut samples = HashMap::new();
        for lines in lines.chunks(3) {
            let [help, kind, sample] = lines else {
                panic!("not three lines: {lines:?}");
            };
            let (name, value) = sample.split_once(' ').expect("a name and a value");
            assert!(name.starts_with("peerloop_"), "{sample}");
            assert!(help.starts_with(&format!("# HELP {name} ")), "{help}");
            let expected = if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            assert_eq!(*kind, format!("# TYPE {name} {expected}"));
            let value = value.parse().expect("a number");
            assert_eq!(samples.insert(name.to_owned(), value), None, "{name}");
        }
        samples
    }
}

#[test]
fn the_counters_say_what_happened() {
    let service = Service::start();
    let before = service.scrape();
    let mut peer = connect(service.echo);
    exchange(&mut peer, 25, b"some text");
    let after = service.scrape();
    let grown = |name: &str| after[name] - before[name];
    // A response is sent after it was written. So each of them tells of the one before it and not of itself, but of its
    // own request.
    assert_eq!(grown("peerloop_accepted_total"), 2);
    assert_eq!(grown("peerloop_messages_sent_total"), 25 + 1);
    assert_eq!(grown("peerloop_messages_received_total"), 25 + 1);
    let request = b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n".len() as u64;
    assert_eq!(
        grown("peerloop_bytes_received_total"),
        25 * (4 + 9) + request
    );
    assert_eq!(after["peerloop_connections"], 2);
    assert_eq!(after["peerloop_panics_total"], 0);
    drop(peer);
    service.scrape_until(|samples| samples["peerloop_connections"] == 1);
}

#[test]
fn what_a_peer_does_wrong_is_counted() {
    let service = Service::start();
    let mut peer = connect(service.echo);
    peer.write_all(&u32::MAX.to_be_bytes())
        .expect("the header is taken");
    let mut rest = Vec::new();
    let _ = peer.read_to_end(&mut rest);
    assert!(rest.is_empty());
    service.scrape_until(|samples| samples["peerloop_framing_errors_total"] == 1);
}

#[test]
fn a_request_for_something_else_gets_the_status_that_says_so() {
    let service = Service::start();
    let cases: [(&[u8], &str); 12] = [
        (b"GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"GET /metricsandmore HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"POST / HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"get /metrics HTTP/1.0\r\n\r\n", "405 Method Not Allowed"),
        (b"GET /metrics?name=x HTTP/1.0\r\n\r\n", "200 OK"),
        (b"\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics\r\n\r\n", "400 Bad Request"),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", "400 Bad Request"),
        (b"GET metrics HTTP/1.1\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics HTTP/2.0\r\n\r\n", "400 Bad Request"),
        (b"\xff\x00\xfe\r\n\r\n", "400 Bad Request"),
    ];
    for (request, status) in cases {
        let shown = String::from_utf8_lossy(request);
        let response = service.ask(request);
        assert_eq!(response.status, format!("HTTP/1.1 {status}"), "{shown:?}");
        let allow = response.headers.contains(&"Allow: GET".to_owned());
        assert_eq!(allow, status.starts_with("405"), "{shown:?}");
    }
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered() {
    let service = Service::start();
    let mut peer = connect(service.metrics);
    for byte in b"GET /metrics HTTP/1.1\r\nHost: slow\r\n\r\n" {
        peer.write_all(&[*byte]).expect("the byte is taken");
        thread::sleep(Duration::from_millis(2));
    }
    let response = Response::read(peer);
    assert_eq!(response.status, "HTTP/1.1 200 OK");
    // Its own request.
    assert_eq!(response.samples()["peerloop_messages_received_total"], 1);
}

#[test]
fn a_second_request_on_a_connection_is_not_answered() {
    let service = Service::start();
    let twice = b"GET / HTTP/1.1\r\n\r\n".repeat(2);
    let response = service.ask(&twice);
    assert_eq!(response.status, "HTTP/1.1 404 Not Found");
    assert_eq!(response.body, "");
}

#[test]
fn a_request_head_that_is_too_long_ends_the_connection_and_nothing_else() {
    let service = Service::start();
    let mut echo = connect(service.echo);
    let mut peer = connect(service.metrics);
    let mut request = b"GET /metrics HTTP/1.1\r\nHost: ".to_vec();
    request.resize(1_000_000, b'x');
    // It may end before it has taken all of it.
    let _ = peer.write_all(&request);
    let mut answer = Vec::new();
    if let Err(error) = peer.read_to_end(&mut answer) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(answer.is_empty());
    exchange(&mut echo, 1, b"still there?");
    service.scrape_until(|samples| samples["peerloop_framing_errors_total"] == 1);
}
