//! Networks of nodes in one thread, on a virtual clock, repeatable from a seed.
//! Requires the feature `sim`.
//!
//! A [`World`] has any number of nodes. They have the same
//! [`Handler`](crate::Handler), [`Config`](crate::Config), framing and timeouts
//! as on a real network, and run the same code, down to the system calls. The
//! system calls, the network and the clock are simulated. The seed decides
//! which [`Faults`] happen, from none to all that a kernel may cause. Each
//! random number is drawn from the seed, so a run can be repeated, byte for
//! byte.
//!
//! The [guide](crate::guide::simulation) leads from a handler to a test of it.
//!
//! ```
//! use std::time::Duration;
//! use peerloop::sim::{Faults, World};
//! use peerloop::config::OnPanic;
//! use peerloop::{Config, ConnId, Handler, Net};
//!
//! #[derive(Default)]
//! struct Echo {
//!     received: Vec<Vec<u8>>,
//!     is_server: bool,
//! }
//!
//! impl Handler for Echo {
//!     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
//!         if !self.is_server {
//!             net.send(conn, b"hello").expect("a new connection has room");
//!         }
//!     }
//!
//!     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
//!         self.received.push(message.to_vec());
//!         if self.is_server {
//!             let _ = net.send(conn, message);
//!         }
//!     }
//! }
//!
//! /// A failed assertion in a handler fails the test.
//! fn config() -> Config {
//!     Config { on_panic: OnPanic::Unwind, ..Config::default() }
//! }
//!
//! let mut world = World::new(7);
//! world.faults(Faults::hostile().lossless());
//! let server = world.node(config(), Echo { is_server: true, ..Echo::default() });
//! let client = world.node(config(), Echo::default());
//! world.with(server, |_, net| net.listen("0.0.0.0:7000")).expect("the port is free");
//! let addr = world.addr(server);
//! world.with(client, |_, net| net.connect(addr)).expect("no limit is reached");
//! world
//!     .run_until(Duration::from_secs(60), |world| !world.handler(client).received.is_empty())
//!     .expect("the answer comes");
//! ```
//!
//! # Checks
//!
//! After each turn of each node the world checks the guarantees of the library:
//! the order and number of callbacks, limits and queues against a recount,
//! timeouts, bytes against the wire, and that no node waits for an event that
//! will not come. A violation panics. The message contains the seed, the time,
//! the last lines of the trace and the command that replays the run.
//!
//! [`World::always`] checks an invariant of your protocol after each turn, and
//! [`World::promise_served_within`] checks how soon a node is answered.
//! [`World::run_until`] waits, within a bound, until a condition holds.
//!
//! **Set [`Config::on_panic`](crate::Config::on_panic) to
//! [`OnPanic::Unwind`](crate::config::OnPanic::Unwind) in tests.** By default a
//! panic of a handler ends one connection and the node continues, as on a real
//! network. A failed assertion in a callback would then not fail the test.
//!
//! # Limitations
//!
//! - Other threads are not simulated, because their effects would not be
//!   repeatable. Use [`World::post`] instead.
//! - Sockets of the caller are not simulated: a connect with
//!   [`ConnectOptions::bound_socket`](crate::config::ConnectOptions::bound_socket)
//!   fails with `Unsupported`.
//! - IPv4 on IPv6 sockets is not simulated.
//! - Multicast and broadcast are not simulated:
//!   [`Net::join_multicast`](crate::Net::join_multicast) fails with
//!   `Unsupported`, as does [`Net::register`](crate::Net::register) for sources
//!   of the program.
//! - Host names are not resolved. Use addresses.

mod any_node;
mod checks;
mod hosts;
mod ledger;
mod node_id;
mod node_time;
mod observer;
mod promises;
mod read_only;
mod run;
mod seeds;
mod session_probe;
mod timed_out;
mod wire;
mod world;

pub use crate::sys::sim::{FaultCounts, Faults, Link, Random, Selector, Trace};
pub use hosts::Hosts;
pub use node_id::NodeId;
pub use node_time::{spend, spent};
pub use seeds::{for_each_seed, seeds};
pub use timed_out::TimedOut;
pub use wire::{Wire, WireListener};
pub use world::World;
