//! Every limit and timeout of a node, each with its default and the reason for it.

mod options;
mod policy;
mod profile;
mod shards;
mod timeouts;

use std::time::{Duration, Instant};

pub use options::{ConnectOptions, ListenOptions};
pub use policy::{HalfOpen, Overflow, Panics, Permission, PrefixLimit};
pub use shards::{Placement, ShardOptions};
pub use timeouts::Timeouts;

pub(crate) use profile::{Overrides, Profile};

use crate::error::ConfigError;
use crate::framing::Framing;
use crate::id::SLOTS_MAX;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

/// Commands that may wait at most: their queue is allocated when the node is made.
const COMMANDS_MAX: usize = 1 << 24;

/// What TCP_KEEPIDLE takes (Linux, tcp(7): whole seconds, MAX_TCP_KEEPIDLE).
const KEEPALIVE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(32_767);

/// All settings of a node. Every limit has a default and can be changed; none can be switched off by accident.
///
/// Of a node with [`Shards`](crate::Shards) each has these settings. Limits on connections, and on those that are connecting,
/// hold for all shards together.
///
/// [`Node::new`](crate::Node::new) checks the whole of it and answers with an error that names the field
/// ([`ConfigError`]) when a value cannot work.
///
/// ```
/// use peerloop::{Config, Framing, LengthPrefix};
///
/// let config = Config {
///     framing: Framing::LengthDelimited(LengthPrefix::Varint),
///     max_frame: 64 * 1024,
///     ..Config::default()
/// };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name in log lines. Default: empty, and the node takes the next number of a process-wide counter.
    pub name: String,
    /// How messages are told apart on the wire, unless a listener or a dial says otherwise. Default: a 4-byte
    /// big-endian length, as tokio-util's `LengthDelimitedCodec` writes it.
    pub framing: Framing,
    /// The longest message in bytes, in both directions. Default: 8 MiB, tokio-util's limit too. A longer one is
    /// refused on its header, before memory is spent on it, and ends the connection. The body alone counts; for
    /// `Framing::Custom` the whole frame.
    pub max_frame: usize,
    /// Connections at most, dials under way and connections still closing included. One more that dials in sees its
    /// connect succeed and then the end of the stream, or a reset if it has sent something. Default: 10,000. At most 2^23.
    pub max_connections: usize,
    /// Connections with one IP address at most, dials under way included; an IPv4-mapped IPv6 address counts as the
    /// IPv4 address. Default: 128: a household or an office behind one address, and no more than a hundredth of the
    /// node.
    pub max_connections_per_ip: usize,
    /// Connections with one network at most, since whoever has an IPv6 address has 2^64 of them. Default: `None`,
    /// off.
    pub max_connections_per_prefix: Option<PrefixLimit>,
    /// Accepted connections whose handshake is not over at most. Default: 256. While there are as many, the others wait
    /// in the kernel's backlog. Without sessions nobody is counted, since a plain connection is established at once, but for those
    /// that one of several [`Shards`](crate::Shards) has accepted and another has not taken up yet.
    pub max_connecting_inbound: usize,
    /// Dials under way at most, their handshakes included. Default: 256. Accepting is never held up by dials, nor
    /// dialling by those who dial in.
    pub max_connecting_outbound: usize,
    /// Whether one address may be dialled while there is a connection with it, or a dial. Default: refused. Listeners
    /// are not concerned: who dials in twice has two ports.
    pub duplicates: Permission,
    /// Whether the node may be connected with itself. Default: refused, on both ends.
    pub self_connections: Permission,
    /// Deadlines of a connection, unless a listener or a dial says otherwise.
    pub timeouts: Timeouts,
    /// Bytes queued for one connection above which [`Net::is_writable`](crate::Net::is_writable) says no and a
    /// drain will be announced. Default: 256 KiB, which fills a write budget.
    pub queue_high: usize,
    /// Bytes queued for one connection at or below which [`Handler::on_drain`](crate::Handler::on_drain) is called.
    /// Default: 64 KiB, so that the socket does not run dry while the handler refills. At most `queue_high`.
    pub queue_low: usize,
    /// Bytes queued for one connection at most, overhead counted. Default: 4 MiB. A send that would pass it is
    /// refused with [`SendError::Full`](crate::SendError::Full), but for one frame on an empty queue. At least
    /// `queue_high`.
    pub queue_max: usize,
    /// What happens when a send would pass `queue_max`. Default: it is refused.
    pub overflow: Overflow,
    /// Bytes queued for all connections of the loop together, overhead counted. Sends that would pass it are refused;
    /// those who were refused hear of a drain when half of it is free. Default: 256 MiB. At least `queue_max`.
    pub loop_queue_max: usize,
    /// Size in bytes of the buffer into which all sockets of the loop are read. Default: 256 KiB: fewer reads than
    /// with 64 KiB, and still inside the second-level cache of current processors. At least 4 KiB.
    pub read_buffer: usize,
    /// Bytes read from one connection per turn, so that no peer starves the others. Default: 256 KiB.
    pub read_budget: usize,
    /// Bytes written to one connection per turn, so that no peer starves the others. Default: 256 KiB.
    pub write_budget: usize,
    /// Connections accepted per listener and turn. Default: 64.
    pub accept_budget: usize,
    /// Steps of handshakes per turn: one for each time that something is received before the handshake is over. Default:
    /// 2. Public-key work takes a fraction of a millisecond a step; so few of them are done between two looks at the
    /// established connections that nobody there has to wait, and a turn costs too little to make it slow.
    pub handshake_budget: usize,
    /// Commands from other threads carried out per turn. Default: 1,024.
    pub command_budget: usize,
    /// Commands from other threads that may wait; one more is refused. Default: 4,096.
    pub command_queue: usize,
    /// Bytes of messages from other threads that may wait; a message that would pass it is refused, but for one in an
    /// empty queue. Default: 16 MiB, four full queues of connections.
    pub command_queue_bytes: usize,
    /// How long a listener rests when the process is out of descriptors or memory; doubled at every failure in a
    /// row, up to ten times this. A connection that ends wakes it early. When the longest rest did not help, those who
    /// wait are accepted with a descriptor kept for that, and closed: better a clean no than silence. Default: 100 ms.
    pub accept_backoff: Duration,
    /// For how long the loop asks the system again and again before it sleeps (`epoll_wait(2)` with a timeout of zero).
    /// Default: `None`, it sleeps at once. What comes within this time is noticed without the cost of waking up, at the
    /// price of a core that is never idle: for a loop that has a core of its own.
    pub busy_poll: Option<Duration>,
    /// Whether a connection lives on when the peer ends its side. Default: no: what is queued leaves, and it ends.
    pub half_open: HalfOpen,
    /// Whether a panic in a callback ends only the connection that it was called for. Default: yes. See
    /// [`Panics`].
    pub panics: Panics,
    /// How long a callback may take before that is logged and counted. Default: 100 ms; `None` asks no clock.
    pub slow_callback: Option<Duration>,
    /// Sets TCP_NODELAY. Default: true, since frames are gathered into one write per turn already.
    pub nodelay: bool,
    /// Sets SO_KEEPALIVE with this idle time, in whole seconds from 1 to 32,767. Default: `None`, off.
    pub keepalive: Option<Duration>,
    /// Sets SO_SNDBUF, in bytes. Default: `None`, the system's own tuning.
    pub send_buffer: Option<usize>,
    /// Sets SO_RCVBUF, in bytes. Default: `None`, the system's own tuning.
    pub receive_buffer: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: String::new(),
            framing: Framing::default(),
            max_frame: 8 * MIB,
            max_connections: 10_000,
            max_connections_per_ip: 128,
            max_connections_per_prefix: None,
            max_connecting_inbound: 256,
            max_connecting_outbound: 256,
            duplicates: Permission::Refused,
            self_connections: Permission::Refused,
            timeouts: Timeouts::default(),
            queue_high: 256 * KIB,
            queue_low: 64 * KIB,
            queue_max: 4 * MIB,
            overflow: Overflow::Refuse,
            loop_queue_max: 256 * MIB,
            read_buffer: 256 * KIB,
            read_budget: 256 * KIB,
            write_budget: 256 * KIB,
            accept_budget: 64,
            handshake_budget: 2,
            command_budget: 1024,
            command_queue: 4096,
            command_queue_bytes: 16 * MIB,
            accept_backoff: Duration::from_millis(100),
            busy_poll: None,
            half_open: HalfOpen::Refused,
            panics: Panics::Contain,
            slow_callback: Some(Duration::from_millis(100)),
            nodelay: true,
            keepalive: None,
            send_buffer: None,
            receive_buffer: None,
        }
    }
}

impl Config {
    /// Checks every field, and the fields against each other.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the first field found at fault: a zero where one cannot work, watermarks out of
    /// order, or a framing that cannot carry its own frames.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_nonzero()?;
        // Half of the slots: one that a connection has left is used again only after the turn.
        let in_slots = self.max_connections <= SLOTS_MAX as usize / 2;
        check(in_slots, "max_connections", "is more than 2^23")?;
        let (low, high) = (self.queue_low, self.queue_high);
        check(low <= high, "queue_low", "is above `queue_high`")?;
        let (max, loop_max) = (self.queue_max, self.loop_queue_max);
        check(max >= high, "queue_max", "is below `queue_high`")?;
        check(loop_max >= max, "loop_queue_max", "is below `queue_max`")?;
        check(self.read_buffer >= 4 * KIB, "read_buffer", "is below 4 KiB")?;
        check(self.read_buffer <= GIB, "read_buffer", "is above 1 GiB")?;
        let commands = self.command_queue <= COMMANDS_MAX;
        check(commands, "command_queue", "is above 2^24")?;
        let keepalive = self.keepalive.is_none_or(|time| KEEPALIVE.contains(&time));
        check(keepalive, "keepalive", "is not within 1 and 32,767 seconds")?;
        check_framing(&self.framing, self.max_frame)?;
        self.max_connections_per_prefix
            .map_or(Ok(()), PrefixLimit::validate)?;
        self.timeouts.validate()
    }

    fn validate_nonzero(&self) -> Result<(), ConfigError> {
        let is_zero = [
            ("max_connections", self.max_connections == 0),
            ("max_connections_per_ip", self.max_connections_per_ip == 0),
            ("max_connecting_inbound", self.max_connecting_inbound == 0),
            ("max_connecting_outbound", self.max_connecting_outbound == 0),
            ("queue_high", self.queue_high == 0),
            ("read_budget", self.read_budget == 0),
            ("write_budget", self.write_budget == 0),
            ("accept_budget", self.accept_budget == 0),
            ("accept_backoff", self.accept_backoff.is_zero()),
            ("handshake_budget", self.handshake_budget == 0),
            ("command_budget", self.command_budget == 0),
            ("command_queue", self.command_queue == 0),
            ("command_queue_bytes", self.command_queue_bytes == 0),
            ("slow_callback", self.slow_callback == Some(Duration::ZERO)),
            ("send_buffer", self.send_buffer == Some(0)),
            ("receive_buffer", self.receive_buffer == Some(0)),
        ];
        is_zero
            .into_iter()
            .try_for_each(|(field, zero)| check(!zero, field, "must not be zero"))
    }

    pub(crate) fn max_accept_backoff(&self) -> Duration {
        self.accept_backoff.saturating_mul(10)
    }

    /// What the connections of this node have in common, for as long as no listener or dial overrides it.
    pub(crate) fn profile(&self, epoch: Instant) -> Profile {
        Profile {
            epoch,
            framing: self.framing.clone(),
            max_frame: self.max_frame,
            timeouts: self.timeouts,
            queue_high: self.queue_high,
            queue_low: self.queue_low,
            queue_max: self.queue_max,
            overflow: self.overflow,
            half_open: self.half_open,
        }
    }
}

fn check(holds: bool, field: &'static str, problem: &'static str) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError { field, problem })
    }
}

fn check_framing(framing: &Framing, max_frame: usize) -> Result<(), ConfigError> {
    check(max_frame > 0, "max_frame", "must not be zero")?;
    check(
        max_frame <= isize::MAX as usize / 2,
        "max_frame",
        "is more than memory can hold",
    )?;
    if let Framing::Fixed(len) = framing {
        check(*len > 0, "framing", "must not be `Fixed(0)`")?;
        check(
            *len <= max_frame,
            "framing",
            "is a fixed length above `max_frame`",
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn rejected(change: impl FnOnce(&mut Config)) -> &'static str {
        let mut config = Config::default();
        change(&mut config);
        config
            .validate()
            .expect_err("the setting cannot work")
            .field
    }

    #[test]
    fn the_default_is_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn a_zero_is_named() {
        assert_eq!(rejected(|c| c.max_connections = 0), "max_connections");
        assert_eq!(rejected(|c| c.max_frame = 0), "max_frame");
        assert_eq!(
            rejected(|c| (c.queue_low, c.queue_high) = (0, 0)),
            "queue_high"
        );
        assert_eq!(rejected(|c| c.read_buffer = 0), "read_buffer");
        assert_eq!(rejected(|c| c.read_budget = 0), "read_budget");
        assert_eq!(rejected(|c| c.write_budget = 0), "write_budget");
        assert_eq!(rejected(|c| c.accept_budget = 0), "accept_budget");
        assert_eq!(rejected(|c| c.command_budget = 0), "command_budget");
        assert_eq!(rejected(|c| c.command_queue = 0), "command_queue");
        assert_eq!(
            rejected(|c| c.accept_backoff = Duration::ZERO),
            "accept_backoff"
        );
        assert_eq!(
            rejected(|c| c.keepalive = Some(Duration::ZERO)),
            "keepalive"
        );
        assert_eq!(
            rejected(|c| c.timeouts.connect = Some(Duration::ZERO)),
            "timeouts.connect"
        );
        assert_eq!(rejected(|c| c.framing = Framing::Fixed(0)), "framing");
    }

    #[test]
    fn limits_out_of_order_are_named() {
        assert_eq!(rejected(|c| c.queue_low = c.queue_high + 1), "queue_low");
        assert_eq!(rejected(|c| c.queue_max = c.queue_high - 1), "queue_max");
        assert_eq!(
            rejected(|c| c.loop_queue_max = c.queue_max - 1),
            "loop_queue_max"
        );
        assert_eq!(
            rejected(|c| c.framing = Framing::Fixed(c.max_frame + 1)),
            "framing"
        );
    }

    #[test]
    fn an_override_is_checked_like_the_node() {
        let profile = Arc::new(Config::default().profile(Instant::now()));
        let same = profile.with(Overrides::default()).unwrap();
        assert!(Arc::ptr_eq(&profile, &same));
        let zero = Overrides {
            max_frame: Some(0),
            ..Overrides::default()
        };
        assert_eq!(profile.with(zero).unwrap_err().field, "max_frame");
        let (framing, max_frame) = (Some(Framing::Fixed(9)), Some(8));
        let fixed = Overrides {
            framing,
            max_frame,
            ..Overrides::default()
        };
        assert_eq!(profile.with(fixed).unwrap_err().field, "framing");
    }
}
