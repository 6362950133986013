//! A handshake that says which program, network and node a peer is, and the
//! choice between two connections with the same node.
//!
//! [`Hello`] makes sessions: both ends send a hello, check the hello of the
//! other end, and answer it. [`Peers`] stores which connection leads to which
//! node, and ends all but one of the connections with the same node.
//!
//! ```
//! use std::error::Error;
//! use peerloop::hello::{Hello, Peers, TieBreak, random_nonce};
//! use peerloop::{
//!     Config, ConnId, ConnInfo, DisconnectReason, Handler, Net, Node, Transport,
//! };
//!
//! struct Chat {
//!     peers: Peers,
//! }
//!
//! impl Handler for Chat {
//!     fn transport(
//!         &mut self,
//!         _: &mut Net,
//!         _: ConnId,
//!         _: &ConnInfo,
//!     ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
//!         Ok(self.peers.session().into())
//!     }
//!
//!     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
//!         match self.peers.connected(net, conn) {
//!             TieBreak::First => println!("a new peer"),
//!             TieBreak::Won(_) => println!("a new connection with the same peer"),
//!             TieBreak::Lost(_) | TieBreak::NoHello => {}
//!         }
//!     }
//!
//!     fn on_message(&mut self, _: &mut Net, conn: ConnId, message: &[u8]) {
//!         println!("{:?} says {message:?}", self.peers.node_of(conn));
//!     }
//!
//!     fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
//!         if let Some(node_id) = self.peers.disconnected(conn) {
//!             println!("{node_id:?} is gone");
//!         }
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let node_id = [7; 32]; // A public key, a hash of one, or a random number.
//! let hello = Hello { version: 3, ..Hello::new(*b"chat", node_id, random_nonce()) };
//! let mut node = Node::new(Config::default(), Chat { peers: Peers::new(hello) })?;
//! # node.net().shutdown(std::time::Duration::ZERO);
//! # node.run()
//! # }
//! ```
//!
//! After the handshake the connection is plain TCP, or continues with the next
//! session of a [`Sequence`](crate::session::Sequence). The hello of the peer is
//! [`Identity::hello`](crate::session::Identity::hello).
//!
//! # Refusals
//!
//! The end that refuses gets
//! [`ConnectError::Session`](crate::ConnectError::Session) with
//! [`SessionError::Hello`](crate::error::SessionError::Hello) in
//! [`on_connect_failed`](crate::Handler::on_connect_failed), and tells the other
//! end, which gets
//! [`SessionError::HelloRefusedByPeer`](crate::error::SessionError::HelloRefusedByPeer).
//! A peer with another magic number gets no answer.
//!
//! A connection of a node with itself is found exactly, also through a relay, a
//! proxy or a NAT, because the peer sends the node id and the nonce of this
//! node. [`Config::allow_self_connections`](crate::Config::allow_self_connections)
//! concerns the detection by addresses only.
//!
//! # What a hello proves
//!
//! Nothing. It is sent in plaintext. Everyone can send the node id of another
//! node, take its place in [`Peers`], and change a hello on its way.
//!
//! With `Sequence::new(peers.session(), noise)` the messages are encrypted, and
//! the hello is not. Use the public key of Noise as the node id. If
//! [`public_key`](crate::session::Identity::public_key) equals the `node_id` of
//! the hello in `on_connect`, the node id is proved. Abort the connection if it
//! does not, before [`Peers::connected`]. Version, network and blob are still
//! not protected. Put the network and the minimum version into the prologue of
//! Noise, so that the handshake fails if the two ends differ. The other order is
//! not possible: the first session of a `Sequence` must end with its handshake,
//! and a cipher does not. Put secret data, and data that must not be changed,
//! into the payload of Noise or into the first message.
//!
//! # Wire format
//!
//! Each end sends its hello at once, whichever end has connected, and then one
//! byte that answers the hello of the other end. Numbers are big-endian. The
//! bytes that follow belong to what comes after the handshake.
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 4 | magic number |
//! | 4 | 1 | format of the hello: 1 |
//! | 5 | 8 | network id |
//! | 13 | 2 | version |
//! | 15 | 32 | node id |
//! | 47 | 8 | nonce |
//! | 55 | 8 | number of the connection, from [`Peers`]; otherwise 0 |
//! | 63 | 2 | length of the blob, *n* |
//! | 65 | *n* | blob |
//! | 65 + *n* | 1 | answer |
//!
//! | answer | meaning |
//! |---|---|
//! | 0 | accepted |
//! | 1 | accepted; this end has another connection with the same node |
//! | 2 | refused: another network |
//! | 3 | refused: an unsupported version or format |
//! | 4 | refused: a blob that is too long |
//! | 5 | refused: a connection of the node with itself |
//! | 6 | refused: the node id is in use |
//! | other | refused for another reason |
//!
//! The magic number is checked byte by byte, because a client of another
//! protocol may wait for an answer to fewer bytes. The other fields are checked
//! when all 65 bytes have arrived. The blob is not received before its length is
//! checked. A handshake needs one round trip after that of TCP.

mod handshake;
mod peers;
mod registry;
mod wire;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

pub use self::handshake::HelloSession;
pub use self::peers::{Peers, TieBreak};
pub use crate::error::HelloRefusal;
pub use crate::session::PeerHello;

/// The hello of a node, from which the sessions of its connections are made.
///
/// ```
/// use peerloop::hello::{Hello, random_nonce};
///
/// let hello = Hello {
///     network: 7,
///     version: 4,
///     min_version: 2,
///     blob: b"games: chess, go".to_vec(),
///     ..Hello::new(*b"game", [7; 32], random_nonce())
/// };
/// # let _ = hello.session();
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// First bytes of every connection of the program. They tell it from other
    /// programs.
    pub magic: [u8; 4],
    /// Id of the network. Nodes of other networks are refused. Default: 0.
    pub network: u64,
    /// Version of the program's protocol. Both ends can use the lower one of
    /// their versions. Default: 1.
    pub version: u16,
    /// Minimum version of a peer. Default: 1.
    pub min_version: u16,
    /// Id of the node, the same after each start and different from that of
    /// every other node: a public key, a hash of one, or a random number.
    pub node_id: [u8; 32],
    /// Number that the node draws at each start, with [`random_nonce`] or from
    /// the seed of a simulation. It is the same for all shards.
    pub nonce: u64,
    /// Data for the peer, such as the port of a listener. At most 65,535 bytes,
    /// or every handshake fails with
    /// [`SessionError::Failed`](crate::error::SessionError::Failed). Default:
    /// empty.
    pub blob: Vec<u8>,
    /// Maximum length of the blob of a peer, in bytes. Default: 1,024, because
    /// everyone who connects can make this node hold as much.
    pub max_blob_len: usize,
}

impl Hello {
    /// Returns a hello with the defaults of the other fields.
    pub fn new(magic: [u8; 4], node_id: [u8; 32], nonce: u64) -> Self {
        Self {
            magic,
            network: 0,
            version: 1,
            min_version: 1,
            node_id,
            nonce,
            blob: Vec::new(),
            max_blob_len: 1024,
        }
    }

    /// Returns the session of one connection, for a program that does not use
    /// [`Peers`]. With `Peers`, use [`Peers::session`].
    pub fn session(&self) -> HelloSession {
        HelloSession::new(Arc::new(self.clone()), None)
    }
}

/// Returns a nonce for [`Hello::nonce`], from the random keys of the standard
/// library's [`RandomState`].
///
/// A peer cannot guess it. It is not a cryptographic random number: do not use
/// it as a key, and do not rely on its secrecy after it was sent. In a
/// simulation, draw the nonce from the seed instead.
pub fn random_nonce() -> u64 {
    RandomState::new().build_hasher().finish()
}
