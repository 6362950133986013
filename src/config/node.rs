//! Settings of a node.

use std::time::Duration;

use super::check::{KIB, MIB, check, check_nonzero};
use super::{ConnectionConfig, Limits, SocketConfig};
use crate::error::ConfigError;

const GIB: usize = 1024 * MIB;

/// Maximum of [`CommandQueueConfig::max_commands`], because the queue is
/// allocated when the node is made.
const COMMANDS_MAX: usize = 1 << 24;

/// Settings of a node. Every limit has a default and can be changed.
///
/// [`Node::new`](crate::Node::new) validates them and names the field that
/// cannot work ([`ConfigError`]). With [`Shards`](crate::node::Shards) every
/// shard has these settings.
///
/// ```
/// use peerloop::Config;
/// use peerloop::config::Limits;
///
/// let config = Config {
///     name: "seed-1".into(),
///     limits: Limits {
///         max_connections: 500,
///         ..Default::default()
///     },
///     ..Default::default()
/// };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the node in log lines.
    ///
    /// Default: empty, which stands for the next number of a counter of the
    /// process.
    pub name: String,
    /// Settings of connections, unless their listener or their
    /// [`ConnectOptions`](crate::config::ConnectOptions) change them.
    pub connection: ConnectionConfig,
    /// Limits on connections and memory.
    pub limits: Limits,
    /// Maximum work per turn.
    pub budget: TurnBudget,
    /// Size of the queue of commands from other threads.
    pub commands: CommandQueueConfig,
    /// Socket options.
    pub sockets: SocketConfig,
    /// Size in bytes of the buffer into which all sockets of the loop are read.
    /// At least 4 KiB, at most 1 GiB.
    ///
    /// Default: 256 KiB, which takes fewer reads than 64 KiB and fits into the
    /// second-level cache of current processors.
    pub read_buffer_bytes: usize,
    /// How long a listener pauses after file-descriptor or memory exhaustion.
    ///
    /// The pause doubles with every failure in a row, up to ten times this
    /// value. A connection that ends also ends the pause. If the failure
    /// outlasts the longest pause, waiting connections are accepted with a
    /// descriptor that is kept in reserve, and closed, because a refusal is
    /// better for a client than silence.
    ///
    /// Default: 100 ms.
    pub accept_backoff: Duration,
    /// For how long the loop polls without sleeping before it sleeps
    /// (`epoll_wait(2)` with a timeout of zero). Lowers the latency of an event
    /// within this time, and keeps a core busy.
    ///
    /// Default: `None`, the loop sleeps at once.
    pub busy_poll: Option<Duration>,
    /// How long a turn may take before it is counted in
    /// [`Metrics::slow_turns`](crate::metrics::Metrics::slow_turns) and logged
    /// at debug level, with what it did.
    ///
    /// Default: 100 ms. `None` reads no clock.
    pub slow_turn: Option<Duration>,
    /// The policy for a panic in a callback.
    ///
    /// Default: [`OnPanic::Contain`]. A test sets [`OnPanic::Unwind`], because
    /// a failed assertion in a callback is a panic like any other.
    pub on_panic: OnPanic,
    /// Whether an address may be connected to while there is a connection with
    /// it, or an attempt. Inbound connections are not affected, because two of
    /// one host have different ports.
    ///
    /// Default: false.
    pub allow_duplicates: bool,
    /// Whether the node may be connected to itself.
    ///
    /// Default: false, both ends are ended.
    pub allow_self_connections: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: String::new(),
            connection: ConnectionConfig::default(),
            limits: Limits::default(),
            budget: TurnBudget::default(),
            commands: CommandQueueConfig::default(),
            sockets: SocketConfig::default(),
            read_buffer_bytes: 256 * KIB,
            accept_backoff: Duration::from_millis(100),
            busy_poll: None,
            slow_turn: Some(Duration::from_millis(100)),
            on_panic: OnPanic::Contain,
            allow_duplicates: false,
            allow_self_connections: false,
        }
    }
}

impl Config {
    /// Checks every field, and the fields against each other.
    ///
    /// # Errors
    ///
    /// - [`ConfigError`] with the name of the first field that cannot work: a
    ///   zero where one is not allowed, watermarks out of order, or a framing
    ///   that cannot carry its own messages.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.connection.validate()?;
        self.limits.validate()?;
        self.budget.validate()?;
        self.commands.validate()?;
        self.sockets.validate()?;
        self.limits.validate_connection(&self.connection)?;
        let size = self.read_buffer_bytes;
        check(size >= 4 * KIB, "read_buffer_bytes", "is below 4 KiB")?;
        check(size <= GIB, "read_buffer_bytes", "is above 1 GiB")?;
        check_nonzero([
            ("accept_backoff", self.accept_backoff.is_zero()),
            ("slow_turn", self.slow_turn == Some(Duration::ZERO)),
        ])
    }

    pub(crate) fn max_accept_backoff(&self) -> Duration {
        self.accept_backoff.saturating_mul(10)
    }
}

/// Maximum work per turn, so that no peer delays the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TurnBudget {
    /// Bytes read from one connection. Default: 256 KiB.
    pub read_bytes: usize,
    /// Bytes written to one connection. Default: 256 KiB.
    pub write_bytes: usize,
    /// Connections accepted per listener. Default: 64.
    pub accepts: usize,
    /// Steps of all handshakes that a turn has time for, however long they
    /// take. A step is one receipt of bytes before the handshake has completed.
    /// Further steps are done within half of `max_turn_time`. Inbound and
    /// outbound handshakes take turns.
    ///
    /// Default: 2.
    pub handshake_steps: usize,
    /// Commands from other threads. Default: 1,024.
    pub commands: usize,
    /// Time for the messages of one connection in a turn. The clock is read
    /// after 1, 2, 4, ... 64 messages and then after every 64, so that as many
    /// messages may follow once the time is used up as were delivered before,
    /// 63 at most.
    ///
    /// Default: 1 ms.
    pub max_visit_time: Duration,
    /// Time for the messages of all connections, after which commands, timers,
    /// accepts and writes have their turn. In its last part, which is twice
    /// `max_visit_time` or half of it, no further connection is visited.
    /// Connections that were not visited keep their places, and an event does
    /// not wait for the connections that were left with more work. Handshakes
    /// have half of this time in addition, accepting a quarter, and writing
    /// half.
    ///
    /// Default: 20 ms.
    pub max_turn_time: Duration,
}

impl Default for TurnBudget {
    fn default() -> Self {
        Self {
            read_bytes: 256 * KIB,
            write_bytes: 256 * KIB,
            accepts: 64,
            handshake_steps: 2,
            commands: 1024,
            max_visit_time: Duration::from_millis(1),
            max_turn_time: Duration::from_millis(20),
        }
    }
}

impl TurnBudget {
    fn validate(&self) -> Result<(), ConfigError> {
        check_nonzero([
            ("budget.read_bytes", self.read_bytes == 0),
            ("budget.write_bytes", self.write_bytes == 0),
            ("budget.accepts", self.accepts == 0),
            ("budget.handshake_steps", self.handshake_steps == 0),
            ("budget.commands", self.commands == 0),
            ("budget.max_visit_time", self.max_visit_time.is_zero()),
            ("budget.max_turn_time", self.max_turn_time.is_zero()),
        ])
    }
}

/// Size of the queue of commands from other threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandQueueConfig {
    /// Maximum number of commands that wait. A further one is refused.
    ///
    /// Default: 4,096. At most 2^24.
    pub max_commands: usize,
    /// Maximum number of bytes of messages that wait. A message that would
    /// exceed it is refused, unless the queue is empty.
    ///
    /// Default: 16 MiB, four full send queues.
    pub max_bytes: usize,
}

impl Default for CommandQueueConfig {
    fn default() -> Self {
        Self {
            max_commands: 4096,
            max_bytes: 16 * MIB,
        }
    }
}

impl CommandQueueConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        check_nonzero([
            ("commands.max_commands", self.max_commands == 0),
            ("commands.max_bytes", self.max_bytes == 0),
        ])?;
        let fits = self.max_commands <= COMMANDS_MAX;
        check(fits, "commands.max_commands", "is above 2^24")
    }
}

/// The policy for a panic in a callback.
///
/// # Examples
///
/// In a test, a failed assertion in a handler must fail the test:
///
/// ```
/// use peerloop::Config;
/// use peerloop::config::OnPanic;
///
/// let config = Config {
///     on_panic: OnPanic::Unwind,
///     ..Default::default()
/// };
/// # let _ = config;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OnPanic {
    /// Ends the connection that the callback was called for with
    /// [`DisconnectReason::HandlerPanicked`](crate::DisconnectReason::HandlerPanicked).
    /// The panic is logged and counted, and the node goes on.
    ///
    /// - A callback for no connection (`on_start`, `on_timer`, `on_turn`, a
    ///   posted call) is cut short. After a panic in `on_accept` the connection
    ///   is refused.
    /// - A panic in a [`Session`](crate::session::Session) ends its connection
    ///   with [`SessionError::Panicked`](crate::error::SessionError::Panicked).
    /// - A panic in a [`Framer`](crate::framing::Framer) ends its connection
    ///   with `HandlerPanicked`, whichever connection the callback was for.
    /// - A panic in the destructor of a session, a framer, a panic's payload or
    ///   a posted call that is not run is logged, and nothing ends by it. This
    ///   holds with both settings.
    /// - Under `panic = "abort"` no panic can be contained.
    ///
    /// A failed assertion in a callback does not fail a test with this setting.
    /// Choose the other one too for a handler whose state may be inconsistent
    /// after a panic.
    Contain,
    /// Unwinds out of the method that runs the node or its
    /// [`Group`](crate::group::Group). The node or the whole group must not be
    /// run again; dropping it closes everything.
    ///
    /// In a spawned thread the panic ends the thread.
    /// [`RunningNode::join`](crate::RunningNode::join) resumes it, and
    /// [`Shards::join`](crate::shards::Shards::join) returns it as an error. A
    /// test that drops them instead passes.
    Unwind,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::Framing;

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
        let zero = Duration::ZERO;
        let named = |change: fn(&mut Config), field| assert_eq!(rejected(change), field);
        named(|c| c.limits.max_connections = 0, "limits.max_connections");
        named(|c| c.connection.max_message_len = 0, "max_message_len");
        named(
            |c| {
                let queue = &mut c.connection.send_queue;
                (queue.low_bytes, queue.high_bytes) = (0, 0);
            },
            "send_queue.high_bytes",
        );
        named(|c| c.read_buffer_bytes = 0, "read_buffer_bytes");
        named(|c| c.budget.read_bytes = 0, "budget.read_bytes");
        named(|c| c.budget.write_bytes = 0, "budget.write_bytes");
        named(|c| c.budget.accepts = 0, "budget.accepts");
        named(|c| c.budget.commands = 0, "budget.commands");
        named(|c| c.commands.max_commands = 0, "commands.max_commands");
        assert_eq!(rejected(|c| c.accept_backoff = zero), "accept_backoff");
        assert_eq!(
            rejected(|c| c.sockets.keepalive = Some(zero)),
            "sockets.keepalive"
        );
        assert_eq!(
            rejected(|c| c.connection.timeouts.connect = Some(zero)),
            "timeouts.connect"
        );
        named(|c| c.connection.framing = Framing::Fixed(0), "framing");
    }

    #[test]
    fn limits_out_of_order_are_named() {
        assert_eq!(
            rejected(|c| {
                let queue = &mut c.connection.send_queue;
                queue.low_bytes = queue.high_bytes + 1;
            }),
            "send_queue.low_bytes"
        );
        assert_eq!(
            rejected(|c| {
                let queue = &mut c.connection.send_queue;
                queue.max_bytes = queue.high_bytes - 1;
            }),
            "send_queue.max_bytes"
        );
        assert_eq!(
            rejected(|c| c.limits.loop_send_bytes = c.connection.send_queue.max_bytes - 1),
            "limits.loop_send_bytes"
        );
        assert_eq!(
            rejected(|c| {
                c.connection.framing = Framing::Fixed(c.connection.max_message_len + 1);
            }),
            "framing"
        );
    }
}
