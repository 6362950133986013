//! An echo service that reports its counters over HTTP, in Prometheus' text
//! format.
//!
//! ```text
//! cargo run --example metrics 127.0.0.1:4000 127.0.0.1:9100
//! curl http://127.0.0.1:9100/metrics
//! ```
//!
//! Two listeners share one loop, one thread and one handler, with a different
//! framing each. HTTP is parsed by a `Framer` for requests without a body, which
//! is all that a scraper sends. Without arguments the system chooses both ports.

use peerloop::{Connection, ListenerId};
use std::error::Error;
use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str;
use std::time::Duration;

use peerloop::error::FramingError;
use peerloop::framing::{Decoded, Framer, Framing};
use peerloop::{Config, ConnId, Handler, ListenOptions, Net, Node};

const USAGE: &str = "usage: metrics [ECHO_ADDRESS:PORT [METRICS_ADDRESS:PORT]]";

/// The longest request head. Prometheus sends a few hundred bytes.
const HEAD_MAX: usize = 8 * 1024;

/// The longest response.
const RESPONSE_MAX: usize = 64 * 1024;

/// How long a scraper may take for its complete request.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// HTTP requests without a body: a message is the head, up to and without its
/// empty line. A message that is sent is a complete response.
#[derive(Default)]
struct HttpHead {
    /// How many bytes were searched in vain. They are not searched again, so that
    /// a peer that sends byte by byte costs no more than others.
    searched: usize,
}

impl Framer for HttpHead {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        const END: &[u8] = b"\r\n\r\n";
        // The end may have begun in the bytes that were searched before.
        let from = self.searched.saturating_sub(END.len() - 1);
        let found = bytes[from..]
            .windows(END.len())
            .position(|window| window == END);
        let head = found.map_or(bytes.len(), |at| from + at);
        if head > HEAD_MAX {
            return Err(FramingError::TooLarge {
                len: head as u64,
                max: HEAD_MAX,
            });
        }
        if found.is_none() {
            self.searched = bytes.len();
            let at_least = bytes.len() + 1;
            return Ok(Decoded::Incomplete { at_least });
        }
        self.searched = 0;
        Ok(Decoded::Frame {
            body: 0..head,
            consumed: head + END.len(),
        })
    }

    fn encode(&mut self, response: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend_from_slice(response);
        Ok(())
    }
}

/// The options of the listener for scrapers.
fn http(mut options: ListenOptions) -> ListenOptions {
    let connection = options.connection_mut();
    connection.framing = Framing::custom(HttpHead::default);
    // In both directions; the framer itself refuses longer requests.
    connection.max_message_len = RESPONSE_MAX;
    connection.timeouts.idle = Some(REQUEST_TIME);
    connection.timeouts.partial_message = Some(REQUEST_TIME);
    options
}

struct Service {
    /// The listener for scrapers.
    metrics: Option<ListenerId>,
}

impl Service {
    fn is_scraper(&self, connection: Connection<'_>) -> bool {
        self.metrics.is_some() && connection.listener() == self.metrics
    }

    fn echo(net: &mut Net, conn: ConnId, message: &[u8]) {
        if let Err(error) = net.send(conn, message) {
            log::warn!("answering {conn}: {error}");
            return net.abort(conn);
        }
        // A peer that does not read the answers gets no further ones, so that
        // the queue stays short.
        if !net.is_writable(conn) {
            net.pause(conn);
        }
    }
}

impl Handler for Service {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if !net
            .connection(conn)
            .is_some_and(|connection| self.is_scraper(connection))
        {
            return Self::echo(net, conn, message);
        }
        let response = respond(net, message);
        if let Err(error) = net.send(conn, response.as_bytes()) {
            log::warn!("answering {conn}: {error}");
        }
        // The response is sent first. Further bytes of the scraper, such as a
        // body, are discarded.
        net.close(conn);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        net.resume(conn);
    }
}

/// Why a request has no other answer than its status line.
#[derive(Clone, Copy)]
enum Refusal {
    BadRequest,
    NotFound,
    MethodNotAllowed,
}

impl Refusal {
    fn status(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed\r\nAllow: GET",
        }
    }
}

/// The whole response to a request.
fn respond(net: &Net, head: &[u8]) -> String {
    let (status, body) = match check(head) {
        Ok(()) => ("200 OK", exposition(net)),
        Err(refusal) => (refusal.status(), String::new()),
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n\
         Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\n\
         Connection: close\r\n\
         \r\n\
         {body}"
    )
}

/// Checks that the request is for the metrics.
fn check(head: &[u8]) -> Result<(), Refusal> {
    let head = str::from_utf8(head).map_err(|_| Refusal::BadRequest)?;
    let line = head.lines().next().unwrap_or_default();
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = words[..] else {
        return Err(Refusal::BadRequest);
    };
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if method.is_empty() || !method.bytes().all(is_token) || !target.starts_with('/') {
        return Err(Refusal::BadRequest);
    }
    let path = target.split('?').next().unwrap_or_default();
    match (path, method) {
        ("/metrics", "GET") => Ok(()),
        ("/metrics", _) => Err(Refusal::MethodNotAllowed),
        _ => Err(Refusal::NotFound),
    }
}

/// Prometheus' text format, line by line.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.metric("counter", &format!("peerloop_{name}_total"), help, value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: usize) {
        self.metric("gauge", &format!("peerloop_{name}"), help, value);
    }

    fn metric(&mut self, kind: &str, name: &str, help: &str, value: impl Display) {
        let lines = format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        self.0
            .write_fmt(lines)
            .expect("writing into a string cannot fail");
    }
}

/// Writes counters under the names of their fields, so that no value can get the
/// name of another.
macro_rules! counters {
    ($text:ident, $from:expr, { $($field:ident: $help:literal,)+ }) => {
        let from = $from;
        $($text.counter(stringify!($field), $help, from.$field);)+
    };
}

/// The counters of the node.
fn exposition(net: &Net) -> String {
    let mut text = Exposition::default();
    let metrics = net.metrics();
    let connections = net.connection_count();
    text.gauge("connections", "Connections established now.", connections);
    let connecting = net.connecting_count();
    let help = "Connections that are connecting or handshaking now.";
    text.gauge("connecting", help, connecting);
    text.gauge("queued_bytes", "Bytes queued now.", metrics.queued_bytes);
    let most = metrics.max_queued_bytes;
    text.gauge("max_queued_bytes", "Most bytes ever queued.", most);
    let held = metrics.received_bytes;
    text.gauge("received_bytes", "Bytes held of incomplete messages.", held);
    counters!(text, net.traffic(), {
        messages_sent: "Messages accepted for sending.",
        bytes_sent: "Bytes accepted for sending, framing included.",
        messages_received: "Messages delivered to the handler.",
        bytes_received: "Bytes delivered to the handler, framing included.",
    });
    counters!(text, metrics, {
        accepted: "Connections accepted.",
        refused_by_handler: "Connections refused by the handler.",
        refused_by_total: "Connections refused at the limit of the node.",
        refused_by_address: "Connections refused at the limit of their address.",
        refused_by_prefix: "Connections refused at the limit of their network.",
        refused_by_handshakes: "Connections refused at the limit of handshakes.",
        refused_by_accept_rate: "Connections refused at the rate of accepts.",
        refused_by_handshake_rate: "Connections refused at the rate of handshakes.",
        refused_untrusted: "Connections refused because no trusted proxy opened them.",
        proxy_header_errors: "Connections ended by their PROXY header.",
        handshakes_evicted: "Connections that lost their handshake place to another one.",
        self_connections: "Connections of the node with itself.",
        accept_errors: "Failures to accept.",
        shed_connections: "Connections closed at file-descriptor exhaustion.",
        accept_backoffs: "Pauses of a listener after a failure to accept.",
        connects_started: "Outbound connects started.",
        connects_failed: "Outbound connects that failed.",
        handshakes_failed: "Connections that ended before their handshake had completed.",
        disconnected: "Connections that ended.",
        framing_errors: "Connections ended by a malformed or too long message.",
        session_errors: "Connections ended by their session after its handshake.",
        resets: "Connections that the peer reset.",
        send_queue_overflows: "Connections ended because their queue overflowed.",
    });
    counters!(text, metrics, {
        connect_timeouts: "Outbound connects without an answer in time.",
        handshake_timeouts: "Handshakes that did not complete in time.",
        idle_timeouts: "Connections ended because there was no message.",
        receive_idle_timeouts: "Connections ended because the peer sent nothing.",
        partial_message_timeouts: "Connections ended in the middle of a slow message.",
        write_stall_timeouts: "Connections ended because the peer read nothing.",
        linger_timeouts: "Connections ended by the linger timeout with something left to write.",
        rate_timeouts: "Connections ended below a minimum rate.",
        receive_rate_ends: "Connections ended above a maximum rate.",
        receive_rate_waits: "Reads that waited for a maximum rate.",
        send_rate_waits: "Writes that waited for a maximum rate.",
        memory_limit_ends: "Connections ended at the limit on received bytes.",
        pings_sent: "Pings sent.",
        bytes_lost: "Bytes accepted for sending and lost.",
        sends_refused: "Sends refused because a queue was full.",
        drains: "Queues that had room again.",
        partial_writes: "Writes that the kernel took a part of.",
        turns: "Turns of the loop.",
        read_budget_hits: "Reads continued in the next turn.",
        write_budget_hits: "Writes continued in the next turn.",
        stale_events: "Events for connections that had ended.",
        panics: "Callbacks that panicked.",
        slow_turns: "Turns that took too long.",
        commands: "Commands from other threads.",
        commands_lost: "Messages from other threads that their connection did not take.",
        wakes_sent: "Wakes by other threads.",
        wakes_saved: "Wakes that were not needed.",
    });
    counters!(text, metrics.udp, {
        datagrams_sent: "Datagrams sent.",
        datagrams_received: "Datagrams delivered to the handler.",
        too_long: "Datagrams dropped because they were too long.",
        send_errors: "Datagrams that the system refused.",
    });
    text.0
}

fn serve(echo: SocketAddr, metrics: SocketAddr) -> Result<(), Box<dyn Error>> {
    let service = Service { metrics: None };
    let mut node = Node::new(Config::default(), service)?;
    let echo = node
        .net()
        .listen(echo)
        .map_err(|error| format!("listening on {echo}: {error}"))?;
    let mut options = node.listen_options();
    // The metrics can be read while the node is full, and do not fill it.
    options.limits.reserved_connections = 4;
    options.limits.max_connections = Some(16);
    let metrics = node
        .net()
        .listen_with(metrics, http(options))
        .map_err(|error| format!("listening on {metrics}: {error}"))?;
    node.handler_mut().metrics = Some(metrics.id);
    writeln!(io::stdout(), "echo on {echo}")?;
    writeln!(io::stdout(), "metrics on {metrics}")?;
    Ok(node.run()?)
}

fn run() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::{Long, Short, Value, ValueExt};

    let mut addresses = Vec::new();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) => addresses.push(word.parse()?),
            Short('h') | Long("help") => return Ok(writeln!(io::stdout(), "{USAGE}")?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    match addresses[..] {
        [] => serve(any, any),
        [echo] => serve(echo, any),
        [echo, metrics] => serve(echo, metrics),
        _ => Err(USAGE.into()),
    }
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metrics: {error}");
            ExitCode::FAILURE
        }
    }
}
