//! The handler of both listeners.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::framing::Framing;
use peerloop::{ConnId, ConnMap, DisconnectReason, Handler, ListenerId, Listening, Net};

use super::exposition::exposition;
use super::http::{BODY_MAX, Body, CONTINUE, HEAD_MAX, Method, Request, Requests};
use super::http::{Response, Status};

/// Maximum time from the connection to the end of the first head.
const HEAD_TIME: Duration = Duration::from_secs(10);

const INDEX: &str = "GET /metrics: the counters of the node, for Prometheus
GET /health: `ok`
POST /echo: the body
";

/// Sends messages back, and answers HTTP requests.
#[derive(Default)]
pub(crate) struct Service {
    /// The listener for HTTP.
    http: Option<ListenerId>,
    /// The requests whose body has not arrived.
    incomplete: ConnMap<(Request, Resource)>,
}

#[derive(Clone, Copy)]
enum Resource {
    Index,
    Metrics,
    Health,
    Echo,
}

impl Resource {
    /// Returns the resource that is requested, or the response if the request is
    /// not possible.
    fn find(path: &[u8], method: Method) -> Result<Self, Response<'static>> {
        let resource = match path {
            b"" | b"/" => Self::Index,
            b"/metrics" => Self::Metrics,
            b"/health" => Self::Health,
            b"/echo" => Self::Echo,
            _ => return Err(Response::empty(Status::NOT_FOUND)),
        };
        let (methods, allow): (&[Method], _) = match resource {
            Self::Echo => (&[Method::Post], "POST"),
            _ => (&[Method::Get, Method::Head], "GET, HEAD"),
        };
        if methods.contains(&method) {
            return Ok(resource);
        }
        Err(Response {
            allow: Some(allow),
            ..Response::empty(Status::METHOD_NOT_ALLOWED)
        })
    }
}

impl Service {
    /// Listens for HTTP.
    pub(crate) fn listen(&mut self, net: &mut Net, addr: SocketAddr) -> io::Result<Listening> {
        let mut options = net.listen_options();
        let connection = options.connection_mut();
        connection.framing = Framing::custom(Requests::default);
        // The framer refuses longer requests itself. Responses have at most the
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

    /// Handles the head of a request.
    fn begin(&mut self, net: &mut Net, conn: ConnId, head: &[u8]) {
        let request = match Request::parse(head) {
            Ok(request) => request,
            Err(status) => return refuse(net, conn, &Response::empty(status)),
        };
        let has_body = request.body != Body::Empty;
        match Resource::find(request.path(head), request.method) {
            Ok(resource) if has_body => {
                if request.expects_continue {
                    send(net, conn, CONTINUE.to_vec());
                }
                self.incomplete.insert(conn, (request, resource));
            }
            Ok(resource) => answer(net, conn, &request, resource, b""),
            // The body is not read, so that nothing can follow it.
            Err(response) if has_body => refuse(net, conn, &response),
            Err(response) => respond(net, conn, &request, &response),
        }
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
        let Some((request, resource)) = self.incomplete.remove(conn) else {
            return self.begin(net, conn, message);
        };
        match request.body.content(message) {
            Ok(content) => answer(net, conn, &request, resource, &content),
            Err(status) => refuse(net, conn, &Response::empty(status)),
        }
    }

    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, _: u64) {
        let connection = net.connection(conn);
        if connection.is_some_and(|it| it.traffic().messages_received == 0) {
            refuse(net, conn, &Response::empty(Status::REQUEST_TIMEOUT));
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        net.resume(conn);
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
        self.incomplete.remove(conn);
    }
}

/// Sends the content of a resource.
fn answer(net: &mut Net, conn: ConnId, request: &Request, resource: Resource, body: &[u8]) {
    let (content_type, content): (_, Cow<'_, [u8]>) = match resource {
        Resource::Index => ("text/plain", INDEX.as_bytes().into()),
        Resource::Health => ("text/plain", b"ok\n".into()),
        Resource::Metrics => {
            let text = exposition(net).into_bytes();
            ("text/plain; version=0.0.4; charset=utf-8", text.into())
        }
        Resource::Echo => ("application/octet-stream", body.into()),
    };
    let response = Response {
        status: Status::OK,
        allow: None,
        content_type,
        content: &content,
    };
    respond(net, conn, request, &response);
}

/// Responds to a complete request. Responses of one turn are written together,
/// in the order of the requests.
fn respond(net: &mut Net, conn: ConnId, request: &Request, response: &Response<'_>) {
    if request.keeps_connection() {
        return send(net, conn, response.to_bytes(request.method, "keep-alive"));
    }
    send(net, conn, response.to_bytes(request.method, "close"));
    net.close(conn);
}

/// Responds to a request of which nothing more is read, and closes. Further bytes
/// of the client are discarded until it closes too, because a reset could destroy
/// the response on its way (RFC 9112, section 9.6).
fn refuse(net: &mut Net, conn: ConnId, response: &Response<'_>) {
    send(net, conn, response.to_bytes(Method::Get, "close"));
    net.close(conn);
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
