//! Limits of a node.

use super::check::{MIB, check, check_nonzero};
use super::{ConnectionConfig, Network, PrefixLimit, Rate, RateLimits};
use crate::error::ConfigError;
use crate::id::SLOTS_MAX;

/// Length in bits of the IPv6 prefix that counts as one address. It is the
/// longest prefix that a subscriber gets (RFC 6177).
pub(crate) const ADDRESS_V6_BITS: u8 = 64;

/// Limits on connections and memory.
///
/// With [`Shards`](crate::node::Shards), limits on connections apply to all
/// shards together, and limits on bytes to each shard.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum number of connections, including connections that are connecting
    /// or closing. A further inbound connection is closed after
    /// [`on_accept`](crate::Handler::on_accept), without another callback. A
    /// further connect fails with
    /// [`ConnectError::TooManyConnections`](crate::ConnectError::TooManyConnections).
    ///
    /// Default: 10,000. At most 2^23.
    pub max_connections: usize,
    /// Number of slots of `max_connections` that only outbound connections can
    /// use, so that inbound connections cannot prevent the node from
    /// connecting.
    ///
    /// Outbound connections can use other free slots too. At most
    /// `max_connections`.
    ///
    /// `Some(0)` reserves none. `None` reserves an eighth of `max_connections`,
    /// rounded down.
    ///
    /// Default: `None`. With the default total that is 1,250 slots.
    pub reserved_outbound: Option<usize>,
    /// Maximum number of connections with one IP address, in both directions.
    ///
    /// An IPv4-mapped IPv6 address counts as the IPv4 address. An IPv6 network
    /// with a prefix of 64 bits counts as one address, because a host in it can
    /// usually use all of its addresses.
    ///
    /// Default: 128. This is enough for a household or an office behind one
    /// address, and about a hundredth of `max_connections`.
    pub max_connections_per_address: usize,
    /// Maximum number of connections with one subnet, which is an address
    /// prefix. One owner may have many addresses in a subnet.
    ///
    /// Default: `None`, which means no limit.
    pub max_connections_per_prefix: Option<PrefixLimit>,
    /// Networks whose connections are not counted for
    /// `max_connections_per_address` and `max_connections_per_prefix`, and not
    /// limited by the three rates per address. Examples are the addresses of a
    /// proxy or a load balancer that has limits for its clients.
    ///
    /// Each new connection is compared with every network of the list, so the
    /// list should be short. A connection from these networks still needs a
    /// handshake place; see `max_inbound_handshakes`.
    ///
    /// Default: empty. Loopback addresses are counted too. If your clients
    /// connect through a proxy on this host, add `127.0.0.0/8` and `::1/128`, or
    /// use [`proxy_protocol`](crate::ListenOptions::proxy_protocol).
    pub exempt_networks: Vec<Network>,
    /// Maximum number of inbound connections whose handshake has not completed.
    /// A connection without a session has no handshake and takes no place.
    ///
    /// If all places are taken, a new handshake takes the place of another one
    /// or fails. In the following rules, A is the address that has the most
    /// places now. If there are several, A is the one whose subnet has the most
    /// places. B is the address of the new handshake, which can be A. The
    /// places of B and of its subnet are counted with the new handshake.
    ///
    /// 1. If A has more places than B, the handshake of A that has received
    ///    nothing for the longest time ends with
    ///    [`ConnectError::Evicted`](crate::ConnectError::Evicted). This also
    ///    holds if A and B have equally many places, and A's subnet has more
    ///    than B's.
    /// 2. If A and B have equally many places, and A's subnet has no more than
    ///    B's, the handshake of A that has waited for its peer for the longest
    ///    time ends, if that is at least 1 s. Without this second, clients that
    ///    try again would end each other's handshakes before any is complete.
    /// 3. If B has more places than A, and B is in `exempt_networks`, the
    ///    handshake of B that has waited for its peer for the longest time
    ///    ends, if that is at least 1 s.
    /// 4. If no handshake ends, the new one fails with
    ///    [`ConnectError::TooManyConnecting`](crate::ConnectError::TooManyConnecting).
    ///
    /// Therefore clients of a few addresses that delay their handshakes cannot
    /// exclude clients of other addresses. Addresses and subnets are counted as
    /// for `max_connections_per_address` and `max_connections_per_prefix`. If
    /// the latter is `None`, subnets have the default lengths of
    /// [`PrefixLimit`].
    ///
    /// A connection whose [PROXY header](crate::ListenOptions::proxy_protocol)
    /// is incomplete takes a place too. Until the address of its client is
    /// known, it counts as a separate address and subnet, so that clients
    /// of one proxy do not exclude each other.
    ///
    /// The shards of a node share the places. A place that another shard loses
    /// is free at once. The handshake that had it ends in the next turn of that
    /// shard. If it completes before that, its connection opens. Rules 2 and 3
    /// end handshakes of the same shard only.
    ///
    /// Default: 256.
    pub max_inbound_handshakes: usize,
    /// Maximum number of outbound connections that are connecting, including
    /// connections in their handshake and connects that are delayed. It is
    /// independent of `max_inbound_handshakes`.
    ///
    /// Default: 256.
    pub max_outbound_connecting: usize,
    /// Maximum rate of connects to an address and port to which a connect has
    /// failed.
    ///
    /// After a failed attempt, each further attempt to the same address and
    /// port is charged against the rate, until one succeeds. An attempt beyond
    /// the rate starts later. [`Net::connect`](crate::Net::connect) returns its
    /// id at once. Before it starts it has no file descriptor, and its [connect
    /// timeout](crate::config::Timeouts::connect) does not run.
    ///
    /// An attempt has failed if it ends before
    /// [`on_connect`](crate::Handler::on_connect) with any error except
    /// [`ConnectError::Cancelled`](crate::ConnectError::Cancelled) and
    /// [`ConnectError::ShuttingDown`](crate::ConnectError::ShuttingDown).
    /// [`ConnectOptions::delay`](crate::config::ConnectOptions::delay) replaces
    /// this limit for one attempt.
    /// [`KeepConnected`](crate::reconnect::KeepConnected) replaces it by delays
    /// that grow.
    ///
    /// At most `max_connections` addresses are remembered. The least recently
    /// used one is dropped first.
    ///
    /// Default: 10 per second, with a burst of 20.
    pub connect_retry_rate: Rate,
    /// Limits on the traffic of all connections with one IP address, inbound
    /// and outbound.
    ///
    /// Addresses are counted as for `max_connections_per_address`: an IPv6 /64 is
    /// one address, and loopback addresses are limited too. `exempt_networks`
    /// are not limited. At most `max_connections` addresses
    /// are remembered, for this limit and the two following ones together. The
    /// least recently used one is dropped first, and gets full buckets when it
    /// is used again. An address takes up to 1 KiB. The shards of a
    /// node share the buckets, so a read or write of a limited connection takes
    /// the lock of the limits.
    ///
    /// Default: `RateLimits::default()`, which limits nothing.
    pub rate_per_address: RateLimits,
    /// Maximum rate of accepted connections with one IP address. Beyond it, a
    /// connection is closed at once, before
    /// [`on_accept`](crate::Handler::on_accept) and before a slot is taken. It
    /// is counted in
    /// [`Metrics::refused_by_accept_rate`](crate::metrics::Metrics::refused_by_accept_rate).
    ///
    /// Addresses are counted as for `rate_per_address`.
    ///
    /// Default: `None`, which means no limit. Many clients may share an address.
    pub accepts_per_address: Option<Rate>,
    /// Maximum rate of inbound handshakes with one IP address. A handshake of a
    /// session takes much more processor time than an accept. Beyond the rate,
    /// a connection whose
    /// [`transport`](crate::Handler::transport) is a session fails with
    /// [`ConnectError::TooManyHandshakesFromAddress`](crate::ConnectError::TooManyHandshakesFromAddress)
    /// before its session is called.
    ///
    /// Addresses are counted as for `rate_per_address`.
    ///
    /// Default: `None`, which means no limit. Many clients may share an address.
    pub handshakes_per_address: Option<Rate>,
    /// Maximum memory of a loop for received data that is not delivered, in
    /// bytes. Counted are
    /// - incomplete messages and records;
    /// - received messages that wait because of a
    ///   [pause](crate::Net::pause) or of
    ///   [`max_visit_time`](crate::config::TurnBudget::max_visit_time);
    /// - the identities of peers.
    ///
    /// The capacity of buffers counts, not the length of their content.
    ///
    /// When the limit is exceeded, connections end with
    /// [`DisconnectReason::MemoryLimit`](crate::DisconnectReason::MemoryLimit)
    /// until at most 63/64 of the limit is in use. Each time, the loop finds
    /// the IP address whose connections hold the most memory, and ends the
    /// connection of that address that holds the most. An IPv6 prefix of 64
    /// bits counts as one address. The loop does not pause connections at this
    /// limit. If it did, all connections could be paused, and no memory would
    /// become free.
    ///
    /// A loop holds no more than this limit plus one read, the size of which is
    /// limited by [`read_buffer_bytes`](crate::Config::read_buffer_bytes). An
    /// attacker with N addresses can end a connection of another address only
    /// if that address holds more than about 1/N of the limit.
    ///
    /// At least twice
    /// [`max_message_len`](crate::config::ConnectionConfig::max_message_len),
    /// because the memory of a growing message is up to twice its length.
    ///
    /// Default: 128 MiB.
    pub loop_receive_bytes: usize,
    /// Maximum memory of a loop for sending, in bytes. Counted are
    /// - the blocks of send queues, including their unused part;
    /// - bodies that are queued without a copy;
    /// - tokens of tracked sends;
    /// - the output of sessions.
    ///
    /// A [`broadcast`](crate::Net::broadcast) body of 16 KiB or more is counted
    /// once. [`Bytes`](crate::Bytes) that are sent several times are counted
    /// each time. `Bytes` that are a part of a larger buffer are counted with
    /// their own length, although they keep the whole buffer in memory.
    ///
    /// A message is accepted if one of these conditions holds:
    /// 1. The last block of the queue has room for the message.
    /// 2. The queue with the message is not larger than F. F is three quarters
    ///    of the limit, less the memory in use. This is the dynamic threshold
    ///    of Choudhury and Hahne (*Dynamic queue length thresholds for
    ///    shared-memory packet switches*, IEEE/ACM Transactions on Networking,
    ///    1998). If n queues grow together, each reaches 1/(n + 1) of the three
    ///    quarters, and as much is left for another queue. If queues fill one
    ///    after another and their peers do not read, each takes half of F. So
    ///    one queue alone reaches 3/8 of the limit.
    /// 3. The message is small, and the limit has room for it. It is small if
    ///    the queue with the message is not larger than 1/16,384 of the limit
    ///    (16 KiB by default), or if the queue is empty and the message is not
    ///    larger than 1/4,096 of the limit (64 KiB by default). The last
    ///    quarter of the limit is for such messages only. By default it has
    ///    room for 4,096 queues of 16 KiB.
    /// 4. No memory is in use for sending.
    ///
    /// A send that is refused by this limit returns
    /// [`SendError::Full`](crate::SendError::Full). The connection is then
    /// added to a list of waiting connections, first in, first out.
    /// [`on_drain`](crate::Handler::on_drain) is called when the message fits.
    /// It is called for earlier connections of the list first. If the queue of
    /// the connection is empty, it does not wait for the earlier ones. While a
    /// connection waits, other queues that are not empty cannot grow by
    /// condition 2. This limit ends no connection.
    ///
    /// The frame of a [custom framer](crate::framing::Framer) and the output of
    /// a session are counted after they exist. The memory may exceed the limit
    /// by one frame, and by the output of one step of a session.
    ///
    /// At least
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
            connect_retry_rate: Rate {
                per_second: 10,
                burst: 20,
            },
            rate_per_address: RateLimits::default(),
            accepts_per_address: None,
            handshakes_per_address: None,
            loop_send_bytes: 256 * MIB,
        }
    }
}

impl Limits {
    /// Checks that the limits of a loop allow the queue and the message of a
    /// connection.
    pub(crate) fn validate_connection(&self, config: &ConnectionConfig) -> Result<(), ConfigError> {
        let enough = self.loop_send_bytes >= config.send_queue.max_bytes;
        let problem = "is below `send_queue.max_bytes` of a connection";
        check(enough, "limits.loop_send_bytes", problem)?;
        // The memory of a message of unknown length is up to twice its length.
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
        self.validate_rates()?;
        self.max_connections_per_prefix
            .map_or(Ok(()), PrefixLimit::validate)
    }

    fn validate_rates(&self) -> Result<(), ConfigError> {
        self.rate_per_address.validate([
            "limits.rate_per_address.receive_bytes",
            "limits.rate_per_address.receive_messages",
            "limits.rate_per_address.send_bytes",
            "limits.rate_per_address.send_messages",
        ])?;
        let rates = [
            ("limits.connect_retry_rate", Some(self.connect_retry_rate)),
            ("limits.accepts_per_address", self.accepts_per_address),
            ("limits.handshakes_per_address", self.handshakes_per_address),
        ];
        let set = rates.into_iter();
        set.filter_map(|(field, rate)| Some((field, rate?)))
            .try_for_each(|(field, rate)| rate.validate(field))
    }

    /// Returns the number of slots that are reserved for outbound connections.
    pub(crate) fn slots_for_outbound(&self) -> usize {
        self.reserved_outbound.unwrap_or(self.max_connections / 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(change: impl FnOnce(&mut Limits)) -> &'static str {
        let mut limits = Limits::default();
        change(&mut limits);
        limits.validate().expect_err("the setting is invalid").field
    }

    #[test]
    fn invalid_field_is_named() {
        let field = rejected(|limits| limits.reserved_outbound = Some(10_001));
        assert_eq!(field, "limits.reserved_outbound");
        let field = rejected(|limits| limits.connect_retry_rate.per_second = 0);
        assert_eq!(field, "limits.connect_retry_rate");
        let field = rejected(|limits| limits.connect_retry_rate.burst = 0);
        assert_eq!(field, "limits.connect_retry_rate");
        let zero = Rate {
            per_second: 0,
            burst: 1,
        };
        let field = rejected(|limits| limits.accepts_per_address = Some(zero));
        assert_eq!(field, "limits.accepts_per_address");
        let field = rejected(|limits| limits.rate_per_address.send_bytes = Some(zero));
        assert_eq!(field, "limits.rate_per_address.send_bytes");
        let field = rejected(|limits| {
            limits.max_connections_per_prefix = Some(PrefixLimit {
                v4_bits: 33,
                ..PrefixLimit::default()
            });
        });
        assert_eq!(field, "limits.max_connections_per_prefix");
    }

    #[test]
    fn eighth_of_slots_is_reserved_by_default() {
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
