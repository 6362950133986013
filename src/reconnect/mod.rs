//! Reconnecting: delays that grow with each failure, and a list of addresses of
//! which some are kept connected.
//!
//! - [`Backoff`] computes the delays.
//! - [`KeepConnected`] keeps a number of connections out of a list of addresses.
//!   It is a value in your handler, which forwards four callbacks to it.
//!
//! ```
//! use std::hash::{BuildHasher, RandomState};
//! use std::io;
//! use std::net::SocketAddr;
//!
//! use peerloop::reconnect::{KeepConnected, KeepConnectedConfig};
//! use peerloop::{
//!     Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node, TimerId,
//! };
//!
//! struct Peer {
//!     addresses: Vec<SocketAddr>,
//!     keep: KeepConnected,
//! }
//!
//! impl Handler for Peer {
//!     fn on_start(&mut self, net: &mut Net) {
//!         for addr in &self.addresses {
//!             let _ = self.keep.add(net, *addr); // An error if there are too many.
//!         }
//!     }
//!
//!     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
//!         self.keep.on_connect(net, conn);
//!         let _ = net.send(conn, "hello");
//!     }
//!
//!     fn on_connect_failed(
//!         &mut self,
//!         net: &mut Net,
//!         conn: ConnId,
//!         _: &ConnInfo,
//!         error: ConnectError,
//!     ) {
//!         self.keep.on_connect_failed(net, conn, error);
//!     }
//!
//!     fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
//!         self.keep.on_disconnect(net, conn);
//!     }
//!
//!     fn on_timer(&mut self, net: &mut Net, timer: TimerId, _: u64) {
//!         if self.keep.on_timer(net, timer) {
//!             return; // Not a timer of this handler.
//!         }
//!     }
//!
//!     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
//! }
//!
//! fn peer(addresses: Vec<SocketAddr>) -> io::Result<Node<Peer>> {
//!     let config = KeepConnectedConfig {
//!         connections: 3,
//!         ..Default::default()
//!     };
//!     let seed = RandomState::new().hash_one(0);
//!     let keep = KeepConnected::new(config, seed)?;
//!     Node::new(Config::default(), Peer { addresses, keep })
//! }
//! # fn main() -> io::Result<()> {
//! #     let mut server = peer(Vec::new())?;
//! #     let addr = server.net().listen("127.0.0.1:0")?.addr;
//! #     let server = server.spawn()?;
//! #     let mut client = peer(vec![addr])?;
//! #     let is_connected = |peer: &mut Peer, _: &mut Net| peer.keep.connection_count() == 1;
//! #     let end = client.run_until(std::time::Duration::from_secs(10), is_connected)?;
//! #     assert_eq!(end, peerloop::RunEnd::Done);
//! #     server.shutdown(std::time::Duration::ZERO);
//! #     server.join()?;
//! #     Ok(())
//! # }
//! ```

mod address_list;
mod backoff;
mod config;
mod keep_connected;

pub use address_list::{AddressState, KeptAddress};
pub use backoff::{Backoff, BackoffConfig};
pub use config::KeepConnectedConfig;
pub use keep_connected::{AddressError, KeepConnected};
