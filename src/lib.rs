//! Peer-to-peer TCP networking **without an async runtime**.
//!
//! One thread runs one [mio](https://docs.rs/mio) poll loop. The loop owns
//! every socket, splits bytes into messages, queues what is sent, and calls
//! your [`Handler`] synchronously with `&mut self`.
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
//! # The parts
//!
//! - A [`Node`] is one loop with its sockets and your handler. [`Node::run`]
//!   runs it in the calling thread; [`Node::turn`] runs it inside a loop of
//!   yours.
//! - A [`Handler`] has the callbacks. Only [`Handler::on_message`] is required.
//! - A [`Net`] is what the handler can do: listen, connect, send, close, set
//!   timers, look at connections. Every callback gets it, and [`Node::net`]
//!   lends it between turns. None of its methods calls the handler.
//! - A [`ConnId`] names a connection and never means another one. A [`ConnMap`]
//!   keeps your own state for each connection.
//! - A [`Handle`] reaches the node from other threads.
//! - [`shards`] runs one node on several threads, [`group`] several nodes on
//!   one.
//! - A [`Config`] has every limit and timeout, with its default and the reason
//!   for it; see [`config`].
//!
//! A message is what one call of [`Net::send`] sends and one call of
//! [`Handler::on_message`] receives. The [`framing`] separates messages on the
//! wire; the default is a 4-byte big-endian length.
//!
//! # A client
//!
//! It connects, asks, waits for the answer, and ends:
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
//! Between the wire and the framing of a connection there may be a
//! [`Session`](session::Session): a handshake that finds out who the peer is, a
//! cipher, or both. [`Handler::transport`] makes one for each connection, or
//! returns [`Transport::Plain`]. With
//! [`require_session`](config::ConnectionConfig::require_session) a connection
//! ends if the handler returns `Plain` for it.
//!
//! # More than one core
//!
//! [`Shards::start`](shards::Shards::start) runs the same handler on several
//! threads. Connections are spread over them, limits hold for all together, and
//! every id works on every shard.
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
//! A failed assertion in a callback is a panic, and by default the node
//! contains it: set [`OnPanic::Unwind`](config::OnPanic::Unwind) in tests, and
//! join every node that has a thread. [`Node`](Node#in-tests) has an example.
//!
//! With the feature `sim`, `peerloop::sim` runs networks of your handlers in
//! one thread, on a virtual clock, with partitions, crashes and faulty kernels,
//! replayable from a seed. Its
//! [guide](https://docs.rs/peerloop/latest/peerloop/sim/guide/index.html) shows
//! how to test a protocol in it.
//!
//! # Scaling
//!
//! The chapter [`scaling`] calculates what one loop, one machine and a network
//! of a million nodes can do.
//!
//! # Logs
//!
//! The library logs through the `log` crate, under the target `peerloop`, with
//! the node's name and the connection's id. Lines that a peer can cause are at
//! debug level or below, and counted in [`Metrics`].
//!
//! # Versions
//!
//! Write config structs as literals that end in `..Default::default()`. A new
//! field is a minor change. `ListenOptions` and `ConnectOptions` begin with the
//! settings of a node, so that its methods make them. Error, reason, stage and
//! statistics types are `#[non_exhaustive]`.
#![forbid(unsafe_code)]
// An example shows what its reader needs and need not use it.
#![doc(test(attr(deny(warnings), allow(dead_code))))]

#[cfg(peerloop_mutants)]
#[doc(hidden)]
pub mod mutants;
#[cfg(not(peerloop_mutants))]
mod mutants;

mod panics;

mod addr;
mod answer;
pub mod error;
mod id;
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

#[doc = include_str!("scaling.md")]
#[doc = include_str!("../benches/charts/growth.svg")]
pub mod scaling {}
#[cfg(feature = "sim")]
pub mod sim;

pub use addr::{ConnInfo, Listening, to_canonical};
pub use bytes::Bytes;
pub use config::{Config, ConnectOptions, ListenOptions};
pub use conn_map::{ConnMap, ConnMapEntry, ConnMapIter};
pub use connection::ConnectionState;
pub use error::{ConnectError, DisconnectReason, SendError};
pub use handler::{Admission, Handler, SendOutcome};
pub use id::{ConnId, Direction, ListenerId, ShardId, TimerId};
pub use metrics::Metrics;
pub use net::{Body, BroadcastOutcome, ConnectAddr, Connection, Connections, Net};
pub use node::{Handle, Node, RunEnd, RunningNode, Turn};
pub use session::Transport;
pub use traffic::Traffic;

#[cfg(target_pointer_width = "64")]
pub mod group {
    //! Many nodes on one thread.

    pub use crate::node::{AnyMemberId, Group, MemberId};
}

pub mod shards {
    //! One node on many threads.

    pub use crate::config::{Placement, ShardOptions};
    pub use crate::node::{Shards, ShardsHandle};
}
