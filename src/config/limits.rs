//! Limits of a node.

use super::ConnectionConfig;
use super::Network;
use super::check::{MIB, check, check_nonzero};
use crate::error::ConfigError;
use crate::id::SLOTS_MAX;

/// The length in bits of the IPv6 prefix that counts as one address, the least
/// that one subscriber gets (RFC 6177).
pub(crate) const ADDRESS_V6_BITS: u8 = 64;

/// Limits on connections and memory.
///
/// With [`Shards`](crate::node::Shards) the limits on connections hold for all
/// shards together, and those on bytes for each shard.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum number of connections, including those that are connecting and
    /// those that are closing. A further inbound connection is accepted and
    /// closed.
    ///
    /// Default: 10,000. At most 2^23.
    pub max_connections: usize,
    /// Number of slots of `max_connections` that only outbound connections can
    /// have, so that inbound connections never keep the node from connecting.
    ///
    /// Outbound connections can have other free slots too. At most
    /// `max_connections`.
    ///
    /// Default: `None`, an eighth of `max_connections`, rounded down: 1,250. A
    /// node that does not connect sets `Some(0)`.
    pub reserved_outbound: Option<usize>,
    /// Maximum number of connections with one IP address, in both directions.
    ///
    /// An IPv4-mapped IPv6 address counts as the IPv4 address. An IPv6 network
    /// with a prefix of 64 bits counts as one address, because a host that has
    /// an address in it usually has all of them.
    ///
    /// Default: 128: enough for a household or an office behind one address,
    /// and about a hundredth of the node.
    pub max_connections_per_address: usize,
    /// Maximum number of connections with one network that is larger than an
    /// address, because one owner may have many addresses.
    ///
    /// Default: `None`, no limit.
    pub max_connections_per_prefix: Option<PrefixLimit>,
    /// Networks whose connections are not counted by
    /// `max_connections_per_address` and `max_connections_per_prefix`: a proxy,
    /// a load balancer, a data center.
    ///
    /// In the competition for handshake places such an address still counts as
    /// one address. Where a new handshake of another address would be refused,
    /// its new handshake takes the place of a handshake of its own that has
    /// waited for its peer for a second. Each connection is compared with every
    /// network of the list, so that it should be short.
    ///
    /// Default: empty. Loopback is not exempt, because behind a local proxy all
    /// clients come from it, strangers included.
    pub exempt_networks: Vec<Network>,
    /// Maximum number of inbound connections whose handshake has not completed.
    /// A connection without a session has no handshake, and takes no place.
    ///
    /// While all places are taken, a new handshake competes with the address
    /// that has most places, and among several such addresses with those of the
    /// prefix that has most:
    ///
    /// - If it has more places than the address of the new handshake would
    ///   have, its handshake that has received nothing for the longest time
    ///   loses its place, and fails with
    ///   [`ConnectError::Evicted`](crate::ConnectError::Evicted). The same
    ///   holds for the prefixes of addresses with as many places.
    /// - If it has as many, only a handshake loses its place that has waited
    ///   for its peer for a second. Otherwise more honest clients than there
    ///   are places would end each other's handshakes again and again.
    /// - Else the new handshake fails, with
    ///   [`ConnectError::TooManyConnecting`](crate::ConnectError::TooManyConnecting).
    ///
    /// Therefore silent clients of a few addresses do not lock others out.
    /// Addresses and prefixes are those of `max_connections_per_address` and of
    /// `max_connections_per_prefix`, or of its default lengths.
    ///
    /// The shards of a node share the places. A handshake that another shard's
    /// new handshake ends has lost its place at once, and ends in the next turn
    /// of its own shard, unless it completes before. With as many places as the
    /// new handshake would have, only a handshake of the new handshake's own
    /// shard ends.
    ///
    /// Default: 256.
    pub max_inbound_handshakes: usize,
    /// Maximum number of outbound connections that are connecting, including
    /// their handshakes and those that wait for their beginning. Inbound and
    /// outbound connections do not wait for each other.
    ///
    /// Default: 256.
    pub max_outbound_connecting: usize,
    /// How often the node connects again to an address and port to which it
    /// failed to connect.
    ///
    /// A failed attempt is remembered until one with the same address succeeds.
    /// Meanwhile every attempt is charged, and beyond the rate it begins later;
    /// [`Net::connect`](crate::Net::connect) returns its id at once. Until it
    /// begins, it has no file descriptor, and its [connect
    /// timeout](crate::config::Timeouts::connect) has not started. Every
    /// outcome but [`ConnectError::Cancelled`](crate::ConnectError::Cancelled)
    /// and [`ConnectError::ShuttingDown`](crate::ConnectError::ShuttingDown) is
    /// a failure if [`on_connect`](crate::Handler::on_connect) was not called.
    /// [`ConnectOptions::delay`](crate::config::ConnectOptions::delay) replaces
    /// this rule for one attempt.
    ///
    /// At most `max_connections` addresses are remembered, without the least
    /// recently used ones.
    ///
    /// Default: 10 a second, 20 at once.
    pub connect_retry_rate: RetryRate,
    /// Maximum number of bytes that a loop keeps of what it received and did
    /// not deliver: incomplete messages and records, what a pause or the time
    /// of a visit left, and the identities of peers. The memory counts, not the
    /// length.
    ///
    /// A connection is never paused because of it, because incomplete messages
    /// would wait for each other. When it is exceeded, the largest incomplete
    /// message of the IP address that holds most is dropped, and its connection
    /// ends with
    /// [`DisconnectReason::MemoryLimit`](crate::DisconnectReason::MemoryLimit).
    /// An IPv6 prefix of 64 bits counts as one address. So a loop holds this
    /// much and one read at most; then a 64th of it is freed. Attackers with N
    /// addresses that fill it can have longer messages of others dropped than
    /// an N-th of it. At least twice
    /// [`max_message_len`](crate::config::ConnectionConfig::max_message_len).
    ///
    /// Default: 128 MiB.
    pub loop_receive_bytes: usize,
    /// Maximum number of bytes of memory that a loop holds for sending: blocks
    /// of its send queues with the part that is not used, bodies that are
    /// queued without a copy, tokens of tracked sends, and the output of
    /// sessions.
    ///
    /// The body of one [`broadcast`](crate::Net::broadcast) from 16 KiB on is
    /// counted once; [`Bytes`](crate::Bytes) that are sent several times are
    /// counted each time, and those that are a part of a larger buffer, which
    /// they keep, with their own length.
    ///
    /// A queue takes a message if it has memory for it. Otherwise the queue,
    /// the message included, may be as large as what is left of three quarters
    /// of the limit (the dynamic threshold of Choudhury and Hahne, *Dynamic
    /// queue length thresholds for shared-memory packet switches*, IEEE/ACM
    /// Transactions on Networking, 1998). So `n` queues that grow together hold
    /// a part of `n + 1` each, and as much is left for an empty one. Queues
    /// that are filled one after the other and are not read halve what is left
    /// each time. The last quarter is for queues of up to 1/16,384 of the limit
    /// (16 KiB by default), and for messages of up to 1/4,096 (64 KiB) on an
    /// empty queue. They are taken however many connections do not read.
    ///
    /// A send that is refused because of this limit gets
    /// [`SendError::Full`](crate::SendError::Full), and the connection waits in
    /// line: an [`on_drain`](crate::Handler::on_drain) follows when the message
    /// fits and those before it have had theirs, or when it fits and the queue
    /// of the connection is empty. While one waits, a queue that holds
    /// something takes no further memory, except in that quarter. No connection
    /// is ended for this limit.
    ///
    /// A message is taken whatever its length while nothing is held. Frames of
    /// a [custom framer](crate::framing::Framer) and answers of a session are
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
            reserved_outbound: None,
            max_connections_per_address: 128,
            max_connections_per_prefix: None,
            exempt_networks: Vec::new(),
            max_inbound_handshakes: 256,
            max_outbound_connecting: 256,
            loop_receive_bytes: 128 * MIB,
            connect_retry_rate: RetryRate::default(),
            loop_send_bytes: 256 * MIB,
        }
    }
}

impl Limits {
    /// Checks that a loop can hold the queue and the message of a connection.
    pub(crate) fn validate_connection(&self, config: &ConnectionConfig) -> Result<(), ConfigError> {
        let enough = self.loop_send_bytes >= config.send_queue.max_bytes;
        let problem = "is below `send_queue.max_bytes` of a connection";
        check(enough, "limits.loop_send_bytes", problem)?;
        // A message of unknown length is kept in up to twice its memory.
        let enough = self.loop_receive_bytes / 2 >= config.max_message_len;
        let problem = "is below twice the `max_message_len` of a connection";
        check(enough, "limits.loop_receive_bytes", problem)
    }

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
        // Half of the slots, because a slot is reused only after the turn in
        // which its connection ended.
        let in_slots = self.max_connections <= SLOTS_MAX as usize / 2;
        check(in_slots, "limits.max_connections", "is more than 2^23")?;
        let fits = self.slots_for_outbound() <= self.max_connections;
        let problem = "is more than `limits.max_connections`";
        check(fits, "limits.reserved_outbound", problem)?;
        self.connect_retry_rate.validate()?;
        self.max_connections_per_prefix
            .map_or(Ok(()), PrefixLimit::validate)
    }

    /// Returns the number of slots that are reserved for outbound connections.
    pub(crate) fn slots_for_outbound(&self) -> usize {
        self.reserved_outbound.unwrap_or(self.max_connections / 8)
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
    /// Default: 48, which a site with several networks may get (RFC 6177). A
    /// prefix of 64 bits counts as one address already.
    pub v6_bits: u8,
}

impl Default for PrefixLimit {
    fn default() -> Self {
        Self {
            max: 512,
            v4_bits: 24,
            v6_bits: 48,
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

/// How often something may happen; see [`Limits::connect_retry_rate`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryRate {
    /// Attempts a second.
    ///
    /// Default: 10.
    pub per_second: u32,
    /// Attempts that begin at once after a time without any.
    ///
    /// Default: 20.
    pub burst: u32,
}

impl Default for RetryRate {
    fn default() -> Self {
        Self {
            per_second: 10,
            burst: 20,
        }
    }
}

impl RetryRate {
    fn validate(self) -> Result<(), ConfigError> {
        let (per_second, burst) = (self.per_second == 0, self.burst == 0);
        check_nonzero([
            ("limits.connect_retry_rate.per_second", per_second),
            ("limits.connect_retry_rate.burst", burst),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(change: impl FnOnce(&mut Limits)) -> &'static str {
        let mut limits = Limits::default();
        change(&mut limits);
        limits.validate().expect_err("it cannot work").field
    }

    #[test]
    fn what_cannot_work_is_named() {
        let field = rejected(|limits| limits.reserved_outbound = Some(10_001));
        assert_eq!(field, "limits.reserved_outbound");
        let field = rejected(|limits| limits.connect_retry_rate.per_second = 0);
        assert_eq!(field, "limits.connect_retry_rate.per_second");
        let field = rejected(|limits| limits.connect_retry_rate.burst = 0);
        assert_eq!(field, "limits.connect_retry_rate.burst");
        let field = rejected(|limits| {
            limits.max_connections_per_prefix = Some(PrefixLimit {
                v4_bits: 33,
                ..PrefixLimit::default()
            });
        });
        assert_eq!(field, "limits.max_connections_per_prefix");
    }

    #[test]
    fn an_eighth_of_the_slots_is_reserved_by_default() {
        for (max_connections, reserved) in [(10_000, 1_250), (15, 1), (7, 0), (1, 0)] {
            let limits = Limits {
                max_connections,
                ..Limits::default()
            };
            limits.validate().unwrap();
            assert_eq!(limits.slots_for_outbound(), reserved);
        }
    }
}
