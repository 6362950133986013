//! Requests and answers: which request an answer belongs to, timeouts, and
//! requests whose connection has ended.
//!
//! [`Requests`] is a value in your handler. It has no codec and no format on the
//! wire: your messages contain the id of the request, a `u64`, in a format of
//! your choice. Here a message is the byte `q` or `a`, the id and a text:
//!
//! ```
//! use std::time::Duration;
//!
//! use peerloop::requests::Requests;
//! use peerloop::{Body, ConnId, DisconnectReason, Handler, Net, TimerId};
//!
//! #[derive(Default)]
//! struct Peer {
//!     /// Each request has the question as its context.
//!     requests: Requests<String>,
//!     answers: Vec<String>,
//! }
//!
//! impl Peer {
//!     fn ask(&mut self, net: &mut Net, conn: ConnId, question: &str) {
//!         let timeout = Duration::from_secs(5);
//!         let Ok(id) = self.requests.begin(net, conn, timeout, question.to_owned()) else {
//!             return; // The connection has ended, or there are too many.
//!         };
//!         if send(net, conn, b"q", id, question).is_err() {
//!             self.requests.cancel(net, conn, id);
//!         }
//!     }
//!
//!     fn report_failures(&mut self) {
//!         while let Some(failed) = self.requests.next_failed() {
//!             self.answers.push(format!("{}: {}", failed.context, failed.reason));
//!         }
//!     }
//! }
//!
//! fn send(
//!     net: &mut Net,
//!     conn: ConnId,
//!     kind: &[u8],
//!     id: u64,
//!     text: &str,
//! ) -> Result<(), peerloop::SendError> {
//!     let id = id.to_be_bytes();
//!     let parts = [kind, &id, text.as_bytes()].map(std::io::IoSlice::new);
//!     net.send(conn, Body::parts(&parts))
//! }
//!
//! impl Handler for Peer {
//!     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
//!         self.ask(net, conn, "ping");
//!     }
//!
//!     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
//!         let Some((head, text)) = message.split_first_chunk::<9>() else {
//!             return net.abort(conn);
//!         };
//!         let [kind, id @ ..] = *head;
//!         let (id, text) = (u64::from_be_bytes(id), String::from_utf8_lossy(text));
//!         if kind == b'q' {
//!             let _ = send(net, conn, b"a", id, &text.to_uppercase());
//!         } else if let Some(question) = self.requests.answer(net, conn, id) {
//!             self.answers.push(format!("{question}: {text}"));
//!         }
//!     }
//!
//!     fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
//!         self.requests.on_disconnect(net, conn);
//!         self.report_failures();
//!     }
//!
//!     fn on_timer(&mut self, net: &mut Net, timer: TimerId, _: u64) {
//!         if self.requests.on_timer(net, timer) {
//!             self.report_failures();
//!         }
//!     }
//! }
//! # fn main() -> std::io::Result<()> {
//! #     use peerloop::{Config, Node};
//! #     let mut server = Node::new(Config::default(), Peer::default())?;
//! #     let addr = server.net().listen("127.0.0.1:0")?.addr;
//! #     let server = server.spawn()?;
//! #     let mut client = Node::new(Config::default(), Peer::default())?;
//! #     client.net().connect(addr)?;
//! #     let ten_seconds = Duration::from_secs(10);
//! #     let _ = client.run_until(ten_seconds, |peer, _| !peer.answers.is_empty())?;
//! #     assert_eq!(client.handler().answers, ["ping: PING"]);
//! #     server.shutdown(Duration::ZERO);
//! #     server.join()?;
//! #     Ok(())
//! # }
//! ```

mod outcome;
mod table;

pub use outcome::{BeginError, FailedRequest, RequestFailure, RequestRefusal};
pub use table::{RequestLimits, Requests};
