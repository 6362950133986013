//! Limits of a node.

use super::check::{MIB, check, check_nonzero};
use crate::error::ConfigError;
use crate::id::SLOTS_MAX;

/// Limits on connections and memory.
///
/// With [`Shards`](crate::node::Shards) the limits on connections hold for all
/// shards together, and those on bytes for each shard.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum number of connections, including those that are connecting and
    /// those that are closing. A further inbound connection is accepted and closed.
    ///
    /// Default: 10,000. At most 2^23.
    pub max_connections: usize,
    /// Maximum number of connections with one IP address, in both directions. An
    /// IPv4-mapped IPv6 address counts as the IPv4 address.
    ///
    /// Default: 128: enough for a household or an office behind one address, and
    /// about a hundredth of the node.
    pub max_connections_per_address: usize,
    /// Maximum number of connections with one network, because a host that has an
    /// IPv6 address usually has 2^64 of them.
    ///
    /// Default: `None`, no limit.
    pub max_connections_per_prefix: Option<PrefixLimit>,
    /// Maximum number of inbound connections whose handshake has not completed.
    /// Further ones wait in the kernel's backlog.
    ///
    /// A connection without a session has no handshake and is not counted, except
    /// for the time between its acceptance by one of several
    /// [`Shards`](crate::node::Shards) and its arrival at another.
    ///
    /// Default: 256.
    pub max_inbound_handshakes: usize,
    /// Maximum number of outbound connections that are connecting, including
    /// their handshakes. Inbound and outbound connections do not wait for each
    /// other.
    ///
    /// Default: 256.
    pub max_outbound_connecting: usize,
    /// Maximum number of bytes of memory that a loop holds for sending: blocks of
    /// its send queues with the part that is not used, bodies that are queued
    /// without a copy, tokens of tracked sends, and the output of sessions.
    ///
    /// The body of one [`broadcast`](crate::Net::broadcast) from 16 KiB on is
    /// counted once; [`Bytes`](crate::Bytes) that are sent several times are
    /// counted each time, and those that are a part of a larger buffer, which they
    /// keep, with their own length.
    ///
    /// A queue takes a message if it has memory for it. Otherwise the queue, the
    /// message included, may be as large as what is left of three quarters of the
    /// limit (the dynamic threshold of Choudhury and Hahne, *Dynamic queue length
    /// thresholds for shared-memory packet switches*, IEEE/ACM Transactions on
    /// Networking, 1998). So `n` full queues hold a part of `n + 1` each, and as
    /// much is left: a message of up to that size is taken on an empty queue. The
    /// last quarter is for queues of up to 1/16,384 of the limit (16 KiB by
    /// default), and for messages of up to 1/4,096 (64 KiB) on an empty queue, so
    /// that connections that do not read leave room for others.
    ///
    /// A send that is refused because of this limit gets
    /// [`SendError::Full`](crate::SendError::Full), and the connection waits in
    /// line: an [`on_drain`](crate::Handler::on_drain) follows when the message
    /// fits and those before it have had theirs, or when it fits and the queue of
    /// the connection is empty. While one waits, a queue that holds something
    /// takes no further memory, except in that quarter. No connection is ended
    /// for this limit.
    ///
    /// A message is taken whatever its length while nothing is held. Frames of a
    /// [custom framer](crate::framing::Framer) and answers of a session are
    /// counted once they exist, and may exceed the limit by as much. At least
    /// [`SendQueueConfig::max_bytes`](crate::config::SendQueueConfig::max_bytes).
    ///
    /// Default: 256 MiB.
    pub loop_send_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_address: 128,
            max_connections_per_prefix: None,
            max_inbound_handshakes: 256,
            max_outbound_connecting: 256,
            loop_send_bytes: 256 * MIB,
        }
    }
}

impl Limits {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let per_address = self.max_connections_per_address;
        check_nonzero([
            ("limits.max_connections", self.max_connections == 0),
            ("limits.max_connections_per_address", per_address == 0),
            (
                "limits.max_inbound_handshakes",
                self.max_inbound_handshakes == 0,
            ),
            (
                "limits.max_outbound_connecting",
                self.max_outbound_connecting == 0,
            ),
        ])?;
        // Half of the slots, because a slot is reused only after the turn in which
        // its connection ended.
        let in_slots = self.max_connections <= SLOTS_MAX as usize / 2;
        check(in_slots, "limits.max_connections", "is more than 2^23")?;
        self.max_connections_per_prefix
            .map_or(Ok(()), PrefixLimit::validate)
    }
}

/// A limit on the connections with one network; see
/// [`Limits::max_connections_per_prefix`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrefixLimit {
    /// Maximum number of connections with one network.
    ///
    /// Default: 512.
    pub max: usize,
    /// Length in bits of an IPv4 network's prefix.
    ///
    /// Default: 24.
    pub v4_bits: u8,
    /// Length in bits of an IPv6 network's prefix.
    ///
    /// Default: 64, the least that one subscriber gets (RFC 6177).
    pub v6_bits: u8,
}

impl Default for PrefixLimit {
    fn default() -> Self {
        Self {
            max: 512,
            v4_bits: 24,
            v6_bits: 64,
        }
    }
}

impl PrefixLimit {
    fn validate(self) -> Result<(), ConfigError> {
        let field = "limits.max_connections_per_prefix";
        let zero = "must not be zero; `None` switches it off";
        check(self.max > 0, field, zero)?;
        let fits = self.v4_bits <= 32 && self.v6_bits <= 128;
        check(fits, field, "has more bits than an address")
    }
}
