//! Floor 0: every limit and timeout of a node, each with its default and the reason for it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::error::ConfigError;
use crate::framing::Framing;
use crate::id::SLOTS_MAX;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// All settings of a node. Every limit has a default and can be changed; none can be switched off by accident.
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
    /// refused on its header, before memory is spent on it.
    pub max_frame: usize,
    /// Connections at most, dials under way included. Default: 10,000.
    pub max_connections: usize,
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
    /// Bytes queued for all connections of the loop together, overhead counted. Default: 256 MiB. At least
    /// `queue_max`.
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
    /// Commands from other threads carried out per turn. Default: 1,024.
    pub command_budget: usize,
    /// Commands from other threads that may wait; one more is refused. Default: 4,096.
    pub command_queue: usize,
    /// How long a listener rests when the process is out of descriptors or memory; doubled at every failure in a
    /// row, up to ten times this. A connection that ends wakes it early. Default: 100 ms.
    pub accept_pause: Duration,
    /// Sets TCP_NODELAY. Default: true, since frames are gathered into one write per turn already.
    pub nodelay: bool,
    /// Sets SO_KEEPALIVE with this idle time. Default: `None`, off.
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
            timeouts: Timeouts::default(),
            queue_high: 256 * KIB,
            queue_low: 64 * KIB,
            queue_max: 4 * MIB,
            loop_queue_max: 256 * MIB,
            read_buffer: 256 * KIB,
            read_budget: 256 * KIB,
            write_budget: 256 * KIB,
            accept_budget: 64,
            command_budget: 1024,
            command_queue: 4096,
            accept_pause: Duration::from_millis(100),
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
        let nonzero = [
            ("max_connections", self.max_connections),
            ("queue_high", self.queue_high),
            ("read_budget", self.read_budget),
            ("write_budget", self.write_budget),
            ("accept_budget", self.accept_budget),
            ("command_budget", self.command_budget),
            ("command_queue", self.command_queue),
        ];
        for (field, value) in nonzero {
            check(value > 0, field, "must not be zero")?;
        }
        let in_slots = self.max_connections <= SLOTS_MAX as usize;
        check(in_slots, "max_connections", "is more than 2^31")?;
        check(
            self.queue_low <= self.queue_high,
            "queue_low",
            "is above `queue_high`",
        )?;
        check(
            self.queue_max >= self.queue_high,
            "queue_max",
            "is below `queue_high`",
        )?;
        check(
            self.loop_queue_max >= self.queue_max,
            "loop_queue_max",
            "is below `queue_max`",
        )?;
        check(self.read_buffer >= 4 * KIB, "read_buffer", "is below 4 KiB")?;
        check(
            !self.accept_pause.is_zero(),
            "accept_pause",
            "must not be zero",
        )?;
        check(
            self.send_buffer != Some(0),
            "send_buffer",
            "must not be zero",
        )?;
        check(
            self.receive_buffer != Some(0),
            "receive_buffer",
            "must not be zero",
        )?;
        check(
            self.keepalive != Some(Duration::ZERO),
            "keepalive",
            "must not be zero",
        )?;
        check_framing(&self.framing, self.max_frame)?;
        self.timeouts.validate()
    }

    /// What the connections of this node have in common, for as long as no listener or dial overrides it.
    pub(crate) fn profile(&self) -> Profile {
        Profile {
            framing: self.framing.clone(),
            max_frame: self.max_frame,
            timeouts: self.timeouts,
            queue_high: self.queue_high,
            queue_low: self.queue_low,
            queue_max: self.queue_max,
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

/// The deadlines of a connection; `None` switches one off.
///
/// Copy [`Config::timeouts`], change what differs, and give it to a listener or a dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// From asking for a dial to an established TCP connection. Default: 5 s.
    pub connect: Option<Duration>,
    /// From [`Net::close`](crate::Net::close), or from the peer's end of stream, until the queue has left and the
    /// peer has ended its side too; then the connection is ended with what is left. Default: 5 s.
    pub linger: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Some(Duration::from_secs(5)),
            linger: Some(Duration::from_secs(5)),
        }
    }
}

impl Timeouts {
    fn validate(&self) -> Result<(), ConfigError> {
        let problem = "must not be zero; `None` switches it off";
        check(
            self.connect != Some(Duration::ZERO),
            "timeouts.connect",
            problem,
        )?;
        check(
            self.linger != Some(Duration::ZERO),
            "timeouts.linger",
            problem,
        )
    }
}

/// How one listener differs from the node's [`Config`]; see [`Net::listen_with`](crate::Net::listen_with).
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections that may wait in the kernel until they are accepted (`listen(2)`; Linux caps it at
    /// `net.core.somaxconn`). Default: 1,024.
    pub backlog: u32,
    /// Sets SO_REUSEPORT (Unix), so that several listeners share one port. Default: false.
    pub reuse_port: bool,
    /// Sets IPV6_V6ONLY to this. Default: `None`, as the system has it.
    pub v6_only: Option<bool>,
    /// Framing of the accepted connections. Default: `None`, as [`Config::framing`].
    pub framing: Option<Framing>,
    /// Longest message of the accepted connections. Default: `None`, as [`Config::max_frame`].
    pub max_frame: Option<usize>,
    /// Deadlines of the accepted connections. Default: `None`, as [`Config::timeouts`].
    pub timeouts: Option<Timeouts>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            reuse_port: false,
            v6_only: None,
            framing: None,
            max_frame: None,
            timeouts: None,
        }
    }
}

/// How one dial differs from the node's [`Config`]; see [`Net::connect_with`](crate::Net::connect_with).
#[derive(Debug, Default)]
pub struct DialOptions {
    /// A socket to dial with, bound and set up as the caller likes (hole punching, source ports, devices). It is
    /// made non-blocking. Default: `None`, a new one.
    pub socket: Option<socket2::Socket>,
    /// The local address to dial from; port 0 lets the system choose. Not together with `socket`. Default: `None`.
    pub source: Option<SocketAddr>,
    /// Framing of the connection. Default: `None`, as [`Config::framing`].
    pub framing: Option<Framing>,
    /// Longest message of the connection. Default: `None`, as [`Config::max_frame`].
    pub max_frame: Option<usize>,
    /// Deadlines of the connection. Default: `None`, as [`Config::timeouts`].
    pub timeouts: Option<Timeouts>,
}

/// What all connections of one origin (the node, a listener, a dial) have in common. Shared, so that a connection
/// pays one pointer for it.
pub(crate) struct Profile {
    pub(crate) framing: Framing,
    pub(crate) max_frame: usize,
    pub(crate) timeouts: Timeouts,
    pub(crate) queue_high: usize,
    pub(crate) queue_low: usize,
    pub(crate) queue_max: usize,
}

impl Profile {
    /// This profile with what a listener or a dial overrides; the same one where nothing is.
    pub(crate) fn with(
        self: &Arc<Self>,
        framing: Option<Framing>,
        max_frame: Option<usize>,
        timeouts: Option<Timeouts>,
    ) -> Result<Arc<Self>, ConfigError> {
        if framing.is_none() && max_frame.is_none() && timeouts.is_none() {
            return Ok(Arc::clone(self));
        }
        let profile = Self {
            framing: framing.unwrap_or_else(|| self.framing.clone()),
            max_frame: max_frame.unwrap_or(self.max_frame),
            timeouts: timeouts.unwrap_or(self.timeouts),
            ..**self
        };
        check_framing(&profile.framing, profile.max_frame)?;
        profile.timeouts.validate()?;
        Ok(Arc::new(profile))
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
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
            rejected(|c| c.accept_pause = Duration::ZERO),
            "accept_pause"
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
        let profile = Arc::new(Config::default().profile());
        assert!(Arc::ptr_eq(
            &profile,
            &profile.with(None, None, None).unwrap()
        ));
        assert_eq!(
            profile.with(None, Some(0), None).unwrap_err().field,
            "max_frame"
        );
        let fixed = profile.with(Some(Framing::Fixed(9)), Some(8), None);
        assert_eq!(fixed.unwrap_err().field, "framing");
    }
}
