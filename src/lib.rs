//! Peer-to-peer networking **without an async runtime**: TCP, and UDP beside it.
//!
//! One thread runs one [mio](https://docs.rs/mio) poll loop. The loop owns
//! every socket, splits incoming bytes into messages, queues outgoing messages,
//! and calls your [`Handler`] synchronously with `&mut self`.
//!
//! # Quick start
//!
//! An echo server:
//!
//! ```no_run
//! use peerloop::{Config, ConnId, Handler, Net, Node};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
//!         let _ = net.send(conn, message);
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     let mut node = Node::new(Config::default(), Echo)?;
//!     let listening = node.net().listen("127.0.0.1:0")?;
//!     println!("listening on {listening}");
//!     node.run()
//! }
//! ```
//!
//! # Guides
//!
//! The [`guide`] has a page with programs for each subject: getting started,
//! framing, backpressure, endings and timeouts, TLS and Noise, threads, other
//! loops, the open internet, datagrams, simulation, recipes, scaling.
//!
//! # The parts
//!
//! - A [`Node`] is one loop with its sockets and your handler. [`Node::run`]
//!   runs it on the calling thread. [`Node::turn`] runs one turn of it inside
//!   another loop.
//! - A [`Handler`] implements the callbacks. Only [`Handler::on_message`] is
//!   required.
//! - A [`Net`] has the operations: a handler uses it to listen, connect, send
//!   and close, to set timers and to look at connections. Every callback
//!   receives it, and [`Node::net`] returns it between turns. None of its
//!   methods calls the handler.
//! - A [`ConnId`] identifies one connection and is never reused. A [`ConnMap`]
//!   stores your own state for each connection.
//! - Other threads use a [`Handle`] to send messages and to run functions in
//!   the loop.
//! - [`shards`] runs one node on several threads. [`group`] runs several nodes
//!   on one thread.
//! - Three values for handlers: [`reconnect`] keeps a number of connections out
//!   of a list of addresses, [`requests`] matches answers with requests, and
//!   [`hello`] knows the peers and keeps one connection with each.
//! - UDP sockets ([`Net::bind_udp`]) and sources of your own ([`Net::register`])
//!   use the same loop.
//! - A [`Config`] holds every limit, timeout and rate. Each has a default; see
//!   [`config`].
//!
//! One call of [`Net::send`] sends one message, and one call of
//! [`Handler::on_message`] receives one. The [`framing`] separates messages on
//! the wire. The default framing is a 4-byte big-endian length before each
//! message.
//!
//! # A client
//!
//! This node connects, sends a question, waits for the answer and shuts down:
//!
//! ```
//! use std::time::Duration;
//! use peerloop::{
//!     Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node,
//! };
//!
//! #[derive(Default)]
//! struct Client {
//!     answer: Option<String>,
//! }
//!
//! impl Handler for Client {
//!     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
//!         let _ = net.send(conn, "a question");
//!     }
//!
//!     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
//!         self.answer = Some(String::from_utf8_lossy(message).into_owned());
//!         net.close(conn);
//!     }
//!
//!     fn on_disconnect(&mut self, net: &mut Net, _: ConnId, _: DisconnectReason) {
//!         net.shutdown(Duration::from_secs(1));
//!     }
//!
//!     fn on_connect_failed(
//!         &mut self,
//!         net: &mut Net,
//!         _: ConnId,
//!         info: &ConnInfo,
//!         error: ConnectError,
//!     ) {
//!         eprintln!("cannot connect to {}: {error}", info.addr);
//!         net.shutdown(Duration::ZERO);
//!     }
//! }
//!
//! # struct Echo;
//! # impl Handler for Echo {
//! #     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
//! #         let _ = net.send(conn, message);
//! #     }
//! # }
//! # fn main() -> std::io::Result<()> {
//! let mut server = Node::new(Config::default(), Echo)?;
//! let addr = server.net().listen("127.0.0.1:0")?.addr;
//! let server = server.spawn()?;
//!
//! let mut node = Node::new(Config::default(), Client::default())?;
//! node.net().connect(addr)?;
//! node.run()?;
//! assert_eq!(node.handler().answer.as_deref(), Some("a question"));
//!
//! server.shutdown(Duration::ZERO);
//! server.join()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Sessions
//!
//! A [`Session`](session::Session) can be placed between the socket and the
//! framing of a connection. It authenticates the peer in a handshake, encrypts
//! the stream, or does both. [`Handler::transport`] creates the session of each
//! connection, or returns [`Transport::Plain`]. With
//! [`require_session`](config::ConnectionConfig::require_session), a connection
//! ends if the handler returns `Plain` for it.
//!
//! # More than one core
//!
//! [`Shards::start`](shards::Shards::start) runs one node on several threads.
//! Each thread has a poll loop and a handler. Connections are distributed over
//! the threads. Limits on connections apply to all threads together, and every
//! id is valid on every shard.
//!
//! ```
//! # use std::time::Duration;
//! use peerloop::shards::{ShardOptions, Shards};
//! use peerloop::{Config, ConnId, Handler, Net};
//!
//! # struct Echo;
//! # impl Handler for Echo {
//! #     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
//! #         let _ = net.send(conn, message);
//! #     }
//! # }
//! # fn main() -> std::io::Result<()> {
//! let shards = Shards::start(Config::default(), ShardOptions::default(), |_, _| Echo)?;
//! println!("listening on {}", shards.listen("127.0.0.1:0")?);
//! # shards.shutdown(Duration::ZERO);
//! shards.join()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Tests
//!
//! A failed assertion in a callback is a panic. By default a node catches
//! panics and continues, so the test does not fail. Set
//! [`OnPanic::Unwind`](config::OnPanic::Unwind) in tests, and join every node
//! that has a thread. [`Node`](Node#in-tests) has an example.
//!
//! With the feature `sim`, the module `peerloop::sim` runs networks of your
//! handlers in one thread, on a virtual clock. A test can partition the network
//! and crash nodes. Faults of the kernel are drawn from a seed, and the same
//! seed gives the same run. A [guide](guide/simulation/index.html) shows how to
//! test a protocol with it.
//!
//! # Logs
//!
//! The library logs through the `log` crate, with the target `peerloop`. A line
//! names the node and, if there is one, the connection. Events that a peer can
//! cause are logged at debug level or below, and counted in [`Metrics`].
//!
//! # Versions
//!
//! Write config structs as literals that end in `..Default::default()`, because
//! a new field is a minor change. `ListenOptions` and `ConnectOptions` are
//! created by methods of a node, because they start from the node's settings.
//! Error, reason, stage and statistics types are `#[non_exhaustive]`.
#![forbid(unsafe_code)]
// Examples define items that they do not use.
#![doc(test(attr(deny(warnings), allow(dead_code))))]

#[cfg(peerloop_mutants)]
#[doc(hidden)]
pub mod mutants;
#[cfg(not(peerloop_mutants))]
mod mutants;

mod counts;
mod panics;

mod addr;
mod answer;
pub mod error;
mod id;
mod proxy_header;
mod time;
pub mod topology;
mod traffic;

mod buffers;
pub mod config;
pub mod framing;

#[cfg(feature = "noise")]
pub mod noise;
pub mod session;
#[cfg(feature = "tls")]
pub mod tls;

mod conn_map;
mod timers;
mod token_bucket;

mod connection;
mod limits;
pub mod metrics;
mod sys;

mod command_queue;
mod cross_shard;
mod event_loop;
mod handler;
mod net;
mod node;

pub mod hello;
pub mod reconnect;
pub mod requests;

pub mod guide;
#[cfg(doctest)]
#[doc = include_str!("../docs/from-pea2pea.md")]
mod from_pea2pea {}
#[cfg(all(doctest, feature = "noise"))]
#[doc = include_str!("../docs/noise-per-message.md")]
mod noise_per_message {}
#[cfg(feature = "sim")]
pub mod sim;

pub use addr::{ConnInfo, Listening, to_canonical};
pub use bytes::Bytes;
pub use config::{
    Config, ConnectOptions, ListenOptions, MulticastInterface, RateLimits, Timeouts, UdpOptions,
};
pub use conn_map::{ConnMap, ConnMapEntry, ConnMapIter};
pub use connection::ConnectionState;
pub use error::{ConfigError, ConnectError, DisconnectReason, SendError, SendToError};
pub use framing::Framing;
pub use handler::{Admission, Handler, SendOutcome};
pub use id::{ConnId, Direction, ListenerId, ShardId, SourceId, TimerId, UdpId};
pub use metrics::Metrics;
pub use mio;
pub use net::{Body, BroadcastOutcome, ConnectAddr, Connection, Connections, Net};
pub use node::{Handle, Node, RunEnd, RunningNode, Turn};
pub use session::Transport;
pub use sys::Readiness;
pub use traffic::{Traffic, UdpTraffic};

#[cfg(target_pointer_width = "64")]
pub mod group {
    //! Several nodes on one thread.

    pub use crate::node::{AnyMemberId, Group, MemberId};
}

pub mod shards {
    //! One node on several threads.

    pub use crate::config::{Placement, ShardOptions};
    pub use crate::node::{Shards, ShardsHandle};
}
