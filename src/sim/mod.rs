//! Whole networks of nodes in one thread, on a virtual clock, replayable from a seed (feature `sim`).
//!
//! A [`World`] has any number of nodes: the same [`Handler`](crate::Handler), [`Config`](crate::Config), framing and deadlines as on a
//! real network, and the same code, down to the system calls. Only these, the network and the clock are simulated, and
//! simulated unkindly: each seed has [`Faults`] of its own, from none to all that a kernel may do. Whatever happens is drawn
//! from the seed, so that a run can be repeated, byte for byte.
//!
//! The [`guide`] leads from a handler of your own to tests of it, step by step.
//!
//! ```
//! use std::time::Duration;
//! use peerloop::sim::World;
//! use peerloop::{Config, ConnId, Handler, Net};
//!
//! #[derive(Default)]
//! struct Echo {
//!     heard: Vec<Vec<u8>>,
//!     answers: bool,
//! }
//!
//! impl Handler for Echo {
//!     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
//!         if !self.answers {
//!             net.send(conn, b"anybody there?").expect("a new connection has room");
//!         }
//!     }
//!
//!     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
//!         self.heard.push(message.to_vec());
//!         if self.answers {
//!             let _ = net.send(conn, message);
//!         }
//!     }
//! }
//!
//! let mut world = World::new(7);
//! world.faults(peerloop::sim::Faults::hostile().lossless());
//! let server = world.node(Config::default(), Echo { answers: true, ..Echo::default() });
//! let client = world.node(Config::default(), Echo::default());
//! world.with(server, |_, net| net.listen("0.0.0.0:7000")).expect("the port is free");
//! let addr = world.addr(server);
//! world.with(client, |_, net| net.connect(addr)).expect("nothing forbids it");
//! world
//!     .run_until(Duration::from_secs(60), |world| !world.handler(client).heard.is_empty())
//!     .expect("the answer comes");
//! ```
//!
//! # What is checked
//!
//! After every turn of every node the world itself checks what the library promises: callbacks in their order and number,
//! limits and queues against a recount, deadlines, bytes against the wire, and that no node has forgotten something that
//! waits for it. A violated check panics, with the seed, the time, the last lines of the trace and how to replay it.
//!
//! What your own protocol promises at all times, [`World::always`] has checked as often; what it promises to come about,
//! [`World::run_until`] waits for, within a bound. A node contains a panic of its handler as it would outside
//! ([`Panics::Contain`](crate::Panics::Contain)): set [`Config::panics`](crate::Config::panics) to `Unwind`, so that an assertion
//! in a callback fails the test.
//!
//! # What is not simulated
//!
//! Other threads: a [`Handle`](crate::Handle) would work, but not the same way twice; [`World::post`] stands for it. A socket of the
//! caller's own ([`ConnectOptions::socket`](crate::ConnectOptions::socket)): such a dial fails with `Unsupported`. IPv4 on IPv6 sockets. Names: give
//! addresses.

pub mod guide {
    #![doc = include_str!("guide.md")]
}

mod checks;
mod hosted;
mod hosts;
mod ledger;
mod look;
mod node_id;
mod observer;
mod run;
mod seeds;
mod session_probe;
mod stuck;
mod wire;
mod world;

pub use crate::sys::sim::{Faults, Happened, Link, Random, Trace};
pub use hosts::Hosts;
pub use node_id::NodeId;
pub use seeds::{for_each_seed, seeds};
pub use stuck::Stuck;
pub use wire::{Wire, WireListener};
pub use world::World;
