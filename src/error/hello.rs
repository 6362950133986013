//! Refusals of the hello handshake.

use std::error::Error;
use std::fmt;

/// The reason why one end refused the hello of the other end; see
/// [`hello`](crate::hello).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum HelloRefusal {
    /// The first bytes are not the magic number of the program.
    AnotherProtocol,
    /// The network ids differ.
    AnotherNetwork,
    /// The version is lower than
    /// [`min_version`](crate::hello::Hello::min_version), or the format of the
    /// hello is unknown.
    UnsupportedVersion,
    /// The blob is longer than
    /// [`max_blob_len`](crate::hello::Hello::max_blob_len).
    BlobTooLong,
    /// The peer is this node itself: it sent the node id and the nonce of this
    /// node.
    SelfConnection,
    /// The peer has the node id of this node and another nonce. It copied the
    /// id, or is another process of the same program.
    NodeIdInUse,
    /// The peer gave a reason that this version of the library does not know.
    Other,
}

impl HelloRefusal {
    /// Returns whether the refused end is at fault. Use it for ban scores.
    ///
    /// True for [`HelloRefusal::AnotherProtocol`] and
    /// [`HelloRefusal::BlobTooLong`]. False for the others, because a correct
    /// node can have an outdated address or version, or be reached by itself.
    pub fn is_peers_fault(&self) -> bool {
        matches!(self, Self::AnotherProtocol | Self::BlobTooLong)
    }
}

impl fmt::Display for HelloRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AnotherProtocol => "another protocol",
            Self::AnotherNetwork => "another network",
            Self::UnsupportedVersion => "an unsupported version",
            Self::BlobTooLong => "a blob that is too long",
            Self::SelfConnection => "the node connected to itself",
            Self::NodeIdInUse => "the node id is in use",
            Self::Other => "another reason",
        })
    }
}

impl Error for HelloRefusal {}
