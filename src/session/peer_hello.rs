//! The hello that a peer sent.

/// The hello that a peer sent in its handshake; see [`hello`](crate::hello).
///
/// All fields are claims of the peer, and nothing proves them. The module
/// describes how a node id is proved with a session that authenticates.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct PeerHello {
    /// Version of the program's protocol that the peer has. At least the
    /// minimum version of this node, and possibly higher than the version of
    /// this node.
    pub version: u16,
    /// Node id.
    pub node_id: [u8; 32],
    /// Nonce that the peer drew when it started. Another nonce with the same
    /// node id means that the peer was restarted.
    pub nonce: u64,
    /// Data of the program. At most the maximum length of this node.
    pub blob: Vec<u8>,
    pub(crate) order: ConnectionOrder,
}

/// The data from which both ends compute which of two connections stays.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct ConnectionOrder {
    /// Number that this node gave to the connection.
    pub(crate) own_number: u64,
    /// Number that the peer gave to the connection.
    pub(crate) number: u64,
    /// This node had another connection with the peer when it accepted the
    /// hello.
    pub(crate) own_has_another: bool,
    /// The peer had another connection with this node when it accepted the
    /// hello.
    pub(crate) has_another: bool,
}

impl PeerHello {
    /// Returns the memory that the hello takes, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.blob.capacity()
    }
}
