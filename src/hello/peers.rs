//! The peers of a node, each with one connection.

use std::fmt;
use std::sync::Arc;

use super::handshake::HelloSession;
use super::registry::{Choice, Registry};
use super::{Hello, PeerHello};
use crate::connection::ConnectionState;
use crate::id::ConnId;
use crate::net::Net;

/// The text of [`DisconnectReason::Application`](crate::DisconnectReason::Application)
/// for a connection that [`Peers`] ends.
const ANOTHER_IS_KEPT: &str = "another connection with this node is kept";

/// The peers of a node, each with one connection.
///
/// A handler has a `Peers`, makes its sessions with [`Peers::session`], and
/// forwards `on_connect` and `on_disconnect` to it, as the example of the
/// [module](super) shows. Shards have clones of one `Peers`, and see the
/// connections of all shards. It holds one entry per peer and connection.
///
/// # Which connection stays
///
/// Two connections between the same two nodes occur when both connect at the
/// same time, when a node connects twice, and when a node has lost a connection
/// and connects again before the other end has noticed. Both ends compute the
/// same choice from what both have sent in their hellos:
///
/// - Each end numbers its connections, and sends the number in its hello. When
///   it accepts the hello of the other end, it also sends whether it has another
///   connection with that node.
/// - If both ends had another connection, the new one is a duplicate, and the
///   **older one stays**. A program that connects repeatedly does not end the
///   connection that it has.
/// - If one end had none, the **newer one stays**, and the other end aborts what
///   it still has. A node that has lost its connection is not locked out until
///   the other end has noticed the loss.
/// - Newer and older are in the order of the numbers of the node with the lower
///   id, because connections made at the same time can have different orders at
///   the two ends.
/// - If the peer was restarted, which its nonce tells, the newer one stays.
///
/// A connection that this node closes counts until it has ended. Until then the
/// peer may end a new one as a duplicate. To connect again at once, call
/// [`Peers::disconnected`] after [`Net::close`]. The new connection then
/// replaces the closing one, and the rest of its messages may be lost.
///
/// Of several connections that work, the two ends never abort all. Each
/// connection is compared with the one that is kept when its
/// [`Peers::connected`] is called, so that the result does not depend on the
/// times at which the two ends see them.
///
/// The other connection is aborted, at both ends, with the reason "another
/// connection with this node is kept" at the end that is first. Messages that
/// were sent on it, in both directions, may be lost. Send again what matters
/// when [`Peers::connected`] returns [`TieBreak::Won`], or send only in answer
/// to a message.
///
/// # Identity
///
/// Everyone who sends the id of a node in a hello can take its place: see
/// [What a hello proves](super#what-a-hello-proves).
///
/// The recipe [two nodes that connect to each
/// other](crate::guide::recipes#two-nodes-that-connect-to-each-other) is a
/// program with it.
#[derive(Clone)]
pub struct Peers {
    hello: Arc<Hello>,
    registry: Arc<Registry>,
}

/// The result of [`Peers::connected`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TieBreak {
    /// It is the only connection with this node.
    First,
    /// The connection stays. The one in the variant was kept until now. It was
    /// aborted, unless it belongs to this shard and was closing.
    Won(ConnId),
    /// The connection was aborted. The one in the variant stays.
    Lost(ConnId),
    /// The connection is not open, or its session did not exchange hellos.
    /// Nothing was done.
    NoHello,
}

impl Peers {
    /// Returns a value without peers. `hello` is that of this node.
    pub fn new(hello: Hello) -> Self {
        Self {
            hello: Arc::new(hello),
            registry: Arc::default(),
        }
    }

    /// Returns the hello of this node.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Returns the session of a new connection, for
    /// [`Handler::transport`](crate::Handler::transport).
    pub fn session(&self) -> HelloSession {
        let number = self.registry.lock().next_number();
        HelloSession::new(self.hello.clone(), Some((number, self.registry.clone())))
    }

    /// Adds a connection, and ends it or the one that was kept with the same
    /// node. Call it once per connection, in
    /// [`Handler::on_connect`](crate::Handler::on_connect). A further call for the
    /// connection that is kept returns [`TieBreak::First`] and changes nothing.
    ///
    /// The other connection may belong to another [shard](crate::shards). It is
    /// then aborted in one of the next turns of that shard.
    pub fn connected(&self, net: &mut Net, conn: ConnId) -> TieBreak {
        let Some(hello) = hello_of(net, conn) else {
            return TieBreak::NoHello;
        };
        let (shard, view) = (net.shard(), &*net);
        let is_open = |conn: ConnId| {
            let state = view.connection(conn).map(|connection| connection.state());
            // The state of a connection of another shard is not known.
            conn.shard() != shard || state == Some(ConnectionState::Connected)
        };
        let mut connections = self.registry.lock();
        let choice = connections.add(&self.hello.node_id, hello, conn, is_open);
        drop(connections);
        match choice {
            Choice::First => TieBreak::First,
            Choice::Newer { over } => {
                if is_open(over) {
                    net.abort_with_reason(over, ANOTHER_IS_KEPT);
                }
                TieBreak::Won(over)
            }
            Choice::Older { kept } => {
                net.abort_with_reason(conn, ANOTHER_IS_KEPT);
                TieBreak::Lost(kept)
            }
        }
    }

    /// Removes a connection. Call it in
    /// [`Handler::on_disconnect`](crate::Handler::on_disconnect).
    ///
    /// Returns the id of the node if the connection was the one that is kept,
    /// so that there is no connection with the node any more. Returns `None` for
    /// a connection that was aborted because of another one.
    pub fn disconnected(&self, conn: ConnId) -> Option<[u8; 32]> {
        self.registry.lock().remove(conn)
    }

    /// Returns the connection with a node, of any shard.
    pub fn find(&self, node_id: &[u8; 32]) -> Option<ConnId> {
        self.registry.lock().find(node_id)
    }

    /// Returns the id of the node at the other end of a connection that is
    /// kept.
    pub fn node_of(&self, conn: ConnId) -> Option<[u8; 32]> {
        self.registry.lock().node_of(conn)
    }

    /// Returns the peers and their connections at this moment, in the order of
    /// their node ids.
    pub fn list(&self) -> Vec<([u8; 32], ConnId)> {
        self.registry.lock().list()
    }

    /// Returns the number of peers.
    pub fn len(&self) -> usize {
        self.registry.lock().len()
    }

    /// Returns whether there is no peer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Returns the hello of the peer of an open connection.
fn hello_of(net: &Net, conn: ConnId) -> Option<&PeerHello> {
    let connection = net.connection(conn)?;
    if connection.state() != ConnectionState::Connected {
        return None;
    }
    connection.identity()?.hello.as_deref()
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers")
            .field("hello", &self.hello)
            .field("len", &self.len())
            .finish()
    }
}
