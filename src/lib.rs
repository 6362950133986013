//! Peer-to-peer TCP networking **without an async runtime**.
//!
//! One thread runs one [mio](https://docs.rs/mio) poll loop; the loop owns every socket, splits bytes into messages,
//! queues what leaves, and calls your [`Handler`] synchronously with `&mut self`.
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
//!     let addr = node.net().listen("127.0.0.1:0")?;
//!     println!("listening on {addr}");
//!     node.run()
//! }
//! ```
//!
//! # How it holds together
//!
//! - A [`Node`] is one loop with its sockets and your handler. [`Node::run`] gives it a thread; [`Node::turn`] lets it
//!   live inside a loop of yours.
//! - A [`Handler`] is told what happens. Only [`Handler::on_message`] must be written.
//! - A [`Net`] is what the handler may do: listen, dial, send, close, set timers, look around. It is handed to every
//!   callback, and lent between turns by [`Node::net`]. None of its calls ever calls the handler.
//! - A [`ConnId`] names a connection for as long as it lives and never means another one; a [`ConnMap`] keeps your own
//!   state for each.
//! - A [`Handle`] reaches the node from other threads.
//! - [`Shards`] are one node on several threads, a loop and a handler on each. A [`Group`] is several nodes on one.
//! - A [`Config`] has every limit and timeout, with its default and the reason for it.
//!
//! A message is what one call of [`Net::send`] sends and one call of [`Handler::on_message`] receives. How it is told
//! apart from the next on the wire is the [`Framing`]; the default is a 4-byte big-endian length.
//!
//! # A dialler
//!
//! It asks, waits for the answer, and ends:
//!
//! ```
//! # use std::{net::SocketAddr, thread, time::Duration};
//! use peerloop::{Config, ConnId, ConnectError, DisconnectReason, Handler, Net, Node};
//!
//! #[derive(Default)]
//! struct Asker {
//!     answer: Option<String>,
//! }
//!
//! impl Handler for Asker {
//!     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
//!         net.send(conn, b"anybody there?").expect("a new connection has room");
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
//!     fn on_connect_failed(&mut self, net: &mut Net, _: ConnId, addr: SocketAddr, error: ConnectError) {
//!         eprintln!("cannot reach {addr}: {error}");
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
//! # let mut server = Node::new(Config::default(), Echo)?;
//! # let addr = server.net().listen("127.0.0.1:0")?;
//! # let handle = server.handle();
//! # let serving = thread::spawn(move || server.run());
//! let mut node = Node::new(Config::default(), Asker::default())?;
//! node.net().connect(addr)?;
//! node.run()?;
//! assert_eq!(node.handler().answer.as_deref(), Some("anybody there?"));
//! # handle.shutdown(Duration::ZERO);
//! # serving.join().expect("the server does not panic")
//! # }
//! ```
//!
//! # Sessions
//!
//! Between the wire and the framing of a connection there may be a [`Session`](session::Session): a handshake that finds
//! out who the peer is, a cipher, or both. [`Handler::session`] makes one for each connection, or none for plain TCP, which
//! costs nothing.
//!
//! # More than one core
//!
//! A loop is one thread. Where that is not enough, [`Shards::start`] runs the same handler on as many as there are cores:
//! connections are spread over them, limits hold for all together, and every id works on every shard.
//!
//! ```
//! # use std::time::Duration;
//! use peerloop::{Config, ConnId, Handler, Net, ShardOptions, Shards};
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
//! With the feature `sim`, `peerloop::sim` runs whole networks of your handlers in one thread, on a virtual clock, with
//! partitions, crashes and unkind kernels, replayable from a seed. Its
//! [guide](https://docs.rs/peerloop/latest/peerloop/sim/guide/index.html) shows how to test a protocol in it.
//!
//! # Limits
//!
//! What one loop, one machine and a network of a million nodes can do, and what ends it first, is calculated in [`scaling`].
//!
//! # Logs
//!
//! Through the `log` crate, under the target `peerloop`, with the node's name and the connection's id. What a peer can
//! cause is logged at debug level at most, and counted in [`Metrics`].
#![forbid(unsafe_code)]
// An example shows what its reader needs and need not use it.
#![doc(test(attr(deny(warnings), allow(dead_code))))]

#[cfg(peerloop_mutants)]
#[doc(hidden)]
pub mod mutants;
#[cfg(not(peerloop_mutants))]
mod mutants;

mod addr;
mod error;
mod id;
mod time;
mod topology;
mod traffic;

mod buffers;
mod config;
mod framing;

#[cfg(feature = "noise")]
pub mod noise;
pub mod session;
#[cfg(feature = "tls")]
pub mod tls;

mod conn_map;
mod timers;

mod connection;
mod limits;
mod metrics;
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

pub use bytes::Bytes;
pub use config::{
    Config, ConnectOptions, HalfOpen, ListenOptions, Overflow, Panics, Permission, Placement,
    PrefixLimit, ShardOptions, Timeouts,
};
pub use conn_map::ConnMap;
pub use connection::{ConnEntry as Peer, ConnectionState as PeerState};
pub use error::{
    ConfigError, ConnectError, DisconnectReason, FramingError, SendError, SessionError, TimeoutKind,
};
pub use framing::{ByteOrder, Decoded, Framer, Framing, LengthPrefix};
pub use handler::{Admission, Handler, SendOutcome};
pub use id::{ConnId, Direction, ShardId, TimerId};
pub use metrics::Metrics;
pub use net::{Body, BroadcastOutcome as Broadcast, Net};
#[cfg(target_pointer_width = "64")]
pub use node::{Group, MemberId};
pub use node::{Handle, Node, Shards, ShardsHandle, Turn};
pub use topology::{Topology, TopologyError};
pub use traffic::Traffic;
