//! The handler of both listeners.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::framing::Framing;
use peerloop::{ConnId, ConnMap, DisconnectReason, Handler, ListenerId, Listening, Net};

use super::exposition::exposition;
use super::http::{Answer, BODY_MAX, CONTINUE, HEAD_MAX, Request, Requests, Status, response};

/// Maximum time from the connection to the end of the first head.
const HEAD_TIME: Duration = Duration::from_secs(10);

const TEXT: &str = "Content-Type: text/plain";
const METRICS: &str = "Content-Type: text/plain; version=0.0.4; charset=utf-8";
const BYTES: &str = "Content-Type: application/octet-stream";

const INDEX: &[u8] = b"GET /metrics, GET /health, POST /echo\n";

/// Sends messages back, and answers HTTP requests.
#[derive(Default)]
pub(crate) struct Service {
    /// The listener for HTTP.
    http: Option<ListenerId>,
    /// The requests whose body has not arrived.
    incomplete: ConnMap<Request>,
}

impl Service {
    /// Listens for HTTP.
    pub(crate) fn listen(&mut self, net: &mut Net, addr: SocketAddr) -> io::Result<Listening> {
        let mut options = net.listen_options();
        let connection = options.connection_mut();
        connection.framing = Framing::custom(Requests::default);
        // The framer refuses longer requests itself. A response has at most the
        // content of a request.
        connection.max_message_len = HEAD_MAX + BODY_MAX;
        // A first head that is late is answered with 408. The minimum rate ends
        // later heads and bodies that arrive slowly.
        connection.min_rate.after = 2 * HEAD_TIME;
        // HTTP can be used while the node is full, and does not fill it.
        options.limits.reserved_connections = 4;
        options.limits.max_connections = Some(256);
        let listening = net.listen_with(addr, options)?;
        self.http = Some(listening.id);
        Ok(listening)
    }

    fn is_http(&self, net: &Net, conn: ConnId) -> bool {
        let connection = net.connection(conn);
        self.http.is_some() && connection.and_then(|it| it.listener()) == self.http
    }

    /// Handles a head or a body.
    ///
    /// # Errors
    ///
    /// - The request is refused: the status.
    fn take(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) -> Result<(), Status> {
        if let Some(mut request) = self.incomplete.remove(conn) {
            let content = request.content(message)?;
            let answer = answer(net, &request, &content);
            respond(net, conn, Some(&request), &answer);
            return Ok(());
        }
        let request = Request::parse(message)?;
        let answer = answer(net, &request, b"");
        if !request.has_body() {
            respond(net, conn, Some(&request), &answer);
        } else if answer.0 != Status::OK {
            // The body is not read, so that no other request can follow.
            respond(net, conn, None, &answer);
        } else {
            if request.expects_continue {
                send(net, conn, CONTINUE.to_vec());
            }
            self.incomplete.insert(conn, request);
        }
        Ok(())
    }
}

impl Handler for Service {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        if self.is_http(net, conn) {
            net.set_conn_timer(conn, HEAD_TIME, 0);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if !self.is_http(net, conn) {
            return send(net, conn, message.to_vec());
        }
        if let Err(status) = self.take(net, conn, message) {
            respond(net, conn, None, &(status, TEXT, b"".into()));
        }
    }

    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, _: u64) {
        let connection = net.connection(conn);
        if connection.is_some_and(|it| it.traffic().messages_received == 0) {
            let answer = (Status::REQUEST_TIMEOUT, TEXT, b"".into());
            respond(net, conn, None, &answer);
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        net.resume(conn);
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
        self.incomplete.remove(conn);
    }
}

/// Returns the answer of the resource that is requested.
fn answer<'a>(net: &Net, request: &Request, body: &'a [u8]) -> Answer<'a> {
    match (request.path.as_str(), request.method.as_str()) {
        ("/", "GET" | "HEAD") => (Status::OK, TEXT, INDEX.into()),
        ("/health", "GET" | "HEAD") => (Status::OK, TEXT, b"ok\n".into()),
        ("/metrics", "GET" | "HEAD") => (Status::OK, METRICS, exposition(net).into_bytes().into()),
        ("/echo", "POST") => (Status::OK, BYTES, body.into()),
        ("/echo", _) => (Status::METHOD_NOT_ALLOWED, "Allow: POST", b"".into()),
        ("/" | "/health" | "/metrics", _) => {
            (Status::METHOD_NOT_ALLOWED, "Allow: GET, HEAD", b"".into())
        }
        _ => (Status::NOT_FOUND, TEXT, b"".into()),
    }
}

/// Sends the response to a complete request, or to a request of which nothing
/// more is read. The responses of one turn are written together.
///
/// After the last response, bytes of the client are discarded until it closes
/// too, because a reset could destroy the response on its way (RFC 9112, section
/// 9.6).
fn respond(net: &mut Net, conn: ConnId, request: Option<&Request>, answer: &Answer<'_>) {
    send(net, conn, response(request, answer));
    if !request.is_some_and(Request::keeps_connection) {
        net.close(conn);
    }
}

fn send(net: &mut Net, conn: ConnId, bytes: Vec<u8>) {
    if let Err(error) = net.send(conn, bytes) {
        log::warn!("answering {conn}: {error}");
        return net.abort(conn);
    }
    // A client that does not read the answers gets no further ones, so that the
    // queue stays short.
    if !net.is_writable(conn) {
        net.pause(conn);
    }
}
