//! An echo service that says how it is doing: what the node counts, in Prometheus' text format over HTTP.
//!
//! ```text
//! cargo run --example metrics 127.0.0.1:4000 127.0.0.1:9100
//! curl http://127.0.0.1:9100/metrics
//! ```
//!
//! Two listeners share one loop, one thread and one handler, and each has a framing of its own. HTTP is told apart by
//! a `Framer` that is good for requests without a body, which is all that a scraper sends. Without arguments the
//! system chooses both ports.

use std::error::Error;
use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str;
use std::time::Duration;

use peerloop::{
    Config, ConnId, Decoded, Framer, Framing, FramingError, Handler, ListenOptions, Net, Node,
    Peer, Timeouts,
};

const USAGE: &str = "usage: metrics [ECHO_ADDRESS:PORT [METRICS_ADDRESS:PORT]]";

/// The longest request head. Prometheus sends a few hundred bytes.
const HEAD_MAX: usize = 8 * 1024;

/// The longest response.
const RESPONSE_MAX: usize = 64 * 1024;

/// How long a scraper may take for its request, whole.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// HTTP requests without a body: a message is the head, up to and without its empty line. What is sent is a whole
/// response already.
#[derive(Default)]
struct HttpHead {
    /// How many bytes were searched in vain. A peer that sends byte by byte must not have us search them all again
    /// for each.
    searched: usize,
}

impl Framer for HttpHead {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        const END: &[u8] = b"\r\n\r\n";
        // The end may have begun in what was searched before.
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

    fn fresh(&self) -> Box<dyn Framer> {
        Box::new(Self::default())
    }
}

/// How connections with scrapers differ from all others.
fn http() -> ListenOptions {
    ListenOptions {
        framing: Some(Framing::Custom(Box::new(HttpHead::default()))),
        // For both directions; the framer itself sees to it that requests are shorter.
        max_frame: Some(RESPONSE_MAX),
        timeouts: Some(Timeouts {
            idle: Some(REQUEST_TIME),
            partial_message: Some(REQUEST_TIME),
            ..Timeouts::default()
        }),
        ..ListenOptions::default()
    }
}

struct Service {
    /// Where scrapers come in.
    metrics_addr: SocketAddr,
}

impl Service {
    fn is_scraper(&self, peer: &Peer) -> bool {
        let ours = self.metrics_addr;
        peer.local_addr().is_some_and(|addr| {
            addr.port() == ours.port() && (ours.ip().is_unspecified() || addr.ip() == ours.ip())
        })
    }

    fn echo(net: &mut Net, conn: ConnId, message: &[u8]) {
        if let Err(error) = net.send(conn, message) {
            log::warn!("answering {conn}: {error}");
            return net.abort(conn);
        }
        // Who does not fetch the answers may not ask on: nothing piles up here.
        if !net.is_writable(conn) {
            net.pause(conn);
        }
    }
}

impl Handler for Service {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if !net
            .connection(conn)
            .is_some_and(|peer| self.is_scraper(peer))
        {
            return Self::echo(net, conn, message);
        }
        let response = respond(net, message);
        if let Err(error) = net.send(conn, response.as_bytes()) {
            log::warn!("answering {conn}: {error}");
        }
        // The response leaves first. What the scraper still sends, a body for instance, is thrown away.
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

/// Whether the request is for the one thing there is.
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

/// Counters that have the names of their fields, so that no value can get under the name of another.
macro_rules! counters {
    ($text:ident, $from:expr, { $($field:ident: $help:literal,)+ }) => {
        let from = $from;
        $($text.counter(stringify!($field), $help, from.$field);)+
    };
}

/// What the node has counted so far.
fn exposition(net: &Net) -> String {
    let mut text = Exposition::default();
    let metrics = net.metrics();
    let connections = net.connection_count();
    text.gauge("connections", "Connections established now.", connections);
    let connecting = net.connecting_count();
    let help = "Dials, and handshakes of accepted connections, under way now.";
    text.gauge("connecting", help, connecting);
    text.gauge("queued_bytes", "Bytes queued now.", metrics.queued);
    let most = metrics.queued_max;
    text.gauge("queued_max_bytes", "Most bytes ever queued.", most);
    counters!(text, net.stats(), {
        messages_sent: "Messages accepted for sending.",
        bytes_sent: "Bytes accepted for sending, framing included.",
        messages_received: "Messages delivered to the handler.",
        bytes_received: "Bytes delivered to the handler, framing included.",
    });
    counters!(text, metrics, {
        accepted: "Connections accepted.",
        refused_by_handler: "Connections refused by the handler.",
        refused_by_total: "Connections refused at the limit of the node.",
        refused_by_ip: "Connections refused at the limit of their address.",
        refused_by_prefix: "Connections refused at the limit of their network.",
        self_connections: "Connections of the node with itself.",
        accept_errors: "Failures to accept.",
        shed: "Connections closed for want of descriptors.",
        accept_backoffs: "Pauses of a listener after a failure to accept.",
        connects_started: "Outbound connects asked for.",
        connects_failed: "Dials that came to nothing.",
        handshakes_failed: "Connections that ended before their handshake was over.",
        disconnected: "Connections that ended.",
        frame_errors: "Connections ended by a malformed or too long message.",
        session_errors: "Connections ended by their session after its handshake.",
        resets: "Connections that the peer reset.",
        send_queue_overflows: "Connections ended because their queue overflowed.",
    });
    counters!(text, metrics, {
        connect_timeouts: "Dials that had no answer in time.",
        handshake_timeouts: "Handshakes that were not over in time.",
        idle_timeouts: "Connections ended because no message came.",
        partial_message_timeouts: "Connections ended in the middle of a slow message.",
        write_stall_timeouts: "Connections ended because the peer took nothing.",
        linger_timeouts: "Connections that could not send all before their end.",
        bytes_lost: "Bytes accepted for sending and lost.",
        sends_refused: "Sends refused because a queue was full.",
        drains: "Queues that had been full and had room again.",
        partial_writes: "Writes that the kernel took a part of.",
        turns: "Turns of the loop.",
        read_budget_hits: "Reads continued in the next turn.",
        write_budget_hits: "Writes continued in the next turn.",
        stale_events: "Events for connections that were no more.",
        panics: "Callbacks that panicked.",
        slow_callbacks: "Callbacks that took too long.",
        commands: "Commands from other threads.",
        commands_lost: "Messages from other threads that came too late.",
        wakes_sent: "Wakes by other threads.",
        wakes_saved: "Wakes that were not needed.",
    });
    text.0
}

fn serve(echo: SocketAddr, metrics: SocketAddr) -> Result<(), Box<dyn Error>> {
    let service = Service {
        metrics_addr: metrics,
    };
    let mut node = Node::new(Config::default(), service)?;
    let echo = node
        .net()
        .listen(echo)
        .map_err(|error| format!("listening on {echo}: {error}"))?;
    let metrics = node
        .net()
        .listen_with(metrics, http())
        .map_err(|error| format!("listening on {metrics}: {error}"))?;
    // Where port 0 was asked for, it is known only now.
    node.handler_mut().metrics_addr = metrics;
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
