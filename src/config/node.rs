//! Settings of a node.

use std::time::Duration;

use super::check::{KIB, MIB, check, check_nonzero};
use super::{ConnectionConfig, Limits, SocketConfig};
use crate::error::ConfigError;

const GIB: usize = 1024 * MIB;

/// Maximum of [`CommandQueueConfig::max_commands`].
const COMMANDS_MAX: usize = 1 << 24;

/// Settings of a node.
///
/// [`Node::new`](crate::Node::new) validates the settings and returns a
/// [`ConfigError`] that names the first invalid field. With
/// [`Shards`](crate::node::Shards), every shard has these settings.
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
    /// Default: empty. The node is then named with a number that is unique in
    /// the process.
    pub name: String,
    /// Settings of connections. A listener and
    /// [`ConnectOptions`](crate::config::ConnectOptions) can change them.
    ///
    /// Default: `ConnectionConfig::default()`.
    pub connection: ConnectionConfig,
    /// Limits on connections and memory.
    ///
    /// Default: `Limits::default()`.
    pub limits: Limits,
    /// Maximum work per turn.
    ///
    /// Default: `TurnBudget::default()`.
    pub budget: TurnBudget,
    /// Size of the queue of commands from other threads.
    ///
    /// Default: `CommandQueueConfig::default()`.
    pub commands: CommandQueueConfig,
    /// Socket options.
    ///
    /// Default: `SocketConfig::default()`.
    pub sockets: SocketConfig,
    /// Size in bytes of the buffer into which all sockets of the loop are read,
    /// from 4 KiB to 1 GiB.
    ///
    /// Default: 288 KiB, like
    /// [`TurnBudget::write_bytes`](crate::config::TurnBudget::write_bytes), so
    /// that one read takes what the peer wrote at once. It fits into the
    /// second-level cache of current processors, and one of several times that
    /// size may not.
    pub read_buffer_bytes: usize,
    /// Time for which a listener pauses after file-descriptor or memory
    /// exhaustion. Not zero.
    ///
    /// The pause doubles with every consecutive failure, up to ten times this
    /// value. It ends early when a connection ends. If the failure outlasts the
    /// longest pause, waiting connections are accepted with a reserved file
    /// descriptor and closed, because a client should be refused rather than
    /// wait.
    ///
    /// Default: 100 ms.
    pub accept_backoff: Duration,
    /// Time for which the loop polls without sleeping before it sleeps. It
    /// calls `epoll_wait(2)` with a timeout of zero. This lowers the latency of
    /// events within this time, and uses a whole core.
    ///
    /// Default: `None`, which means that the loop sleeps at once.
    pub busy_poll: Option<Duration>,
    /// Duration of a turn above which it is counted in
    /// [`Metrics::slow_turns`](crate::metrics::Metrics::slow_turns). It is also
    /// logged at debug level, with the number of messages and commands and the
    /// largest batch. Not zero. `None` disables the check.
    ///
    /// Default: 100 ms.
    pub slow_turn: Option<Duration>,
    /// Policy for a panic in a callback.
    ///
    /// Default: [`OnPanic::Contain`]. Tests should set [`OnPanic::Unwind`],
    /// because a failed assertion in a callback is a panic.
    pub on_panic: OnPanic,
    /// Whether the node may connect to an address to which it has a connection
    /// or a pending connect. If false, such a connect fails with
    /// [`ConnectError::AlreadyConnected`](crate::ConnectError::AlreadyConnected)
    /// or
    /// [`ConnectError::AlreadyConnecting`](crate::ConnectError::AlreadyConnecting).
    ///
    /// Inbound connections are not affected, because two connections of one
    /// host have different ports.
    ///
    /// Default: false.
    pub allow_duplicates: bool,
    /// Whether the node may connect to itself. If false, both ends of such a
    /// connection are ended. They are found by their addresses.
    /// [`hello`](crate::hello) finds them through relays and NATs as well.
    ///
    /// Default: false.
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
            read_buffer_bytes: 288 * KIB,
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
    /// - [`ConfigError`] with the name of the first invalid field, for example
    ///   a zero that is not allowed, watermarks in the wrong order, or a
    ///   framing that cannot carry its own messages.
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

/// Maximum work per turn. The budgets ensure that no peer delays the others.
/// Work that exceeds a budget continues in the next turn. No field may be zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TurnBudget {
    /// Maximum number of bytes read from one connection.
    ///
    /// Default: 288 KiB, like
    /// [`Config::read_buffer_bytes`](crate::Config::read_buffer_bytes).
    pub read_bytes: usize,
    /// Maximum number of bytes written to one connection.
    ///
    /// Default: 288 KiB. This is the default of
    /// [`high_bytes`](crate::config::SendQueueConfig::high_bytes) and one more
    /// message of up to 32 KiB, so that a queue that a handler has filled is
    /// written at once.
    pub write_bytes: usize,
    /// Maximum number of connections accepted per listener.
    ///
    /// Default: 64.
    pub accepts: usize,
    /// Number of handshake steps that a turn executes, over all connections,
    /// however long they take. A step is one receipt of bytes before the
    /// handshake has completed. Further steps are executed until half of
    /// `max_turn_time` is used. Inbound and outbound handshakes alternate.
    ///
    /// Default: 2.
    pub handshake_steps: usize,
    /// Maximum number of commands from other threads.
    ///
    /// Default: 1,024.
    pub commands: usize,
    /// Maximum number of datagrams received from one UDP socket, and maximum
    /// number of datagrams sent by one. The limits in bytes and the time for
    /// one connection apply to a socket too.
    ///
    /// Default: 256. At one or two microseconds for the system call of each, that
    /// is less than the default of `max_visit_time`.
    pub datagrams: usize,
    /// Maximum time for delivering messages of one connection.
    ///
    /// The clock is read after 1, 2, 4, ... 64 messages and then after every 64.
    /// Therefore, after the time is used, as many more messages can be
    /// delivered as before, up to 63.
    ///
    /// Default: 1 ms.
    pub max_visit_time: Duration,
    /// Maximum time for delivering messages of all connections. The rest of the
    /// turn follows it.
    ///
    /// - No connection is visited in the last part of this time: twice
    ///   `max_visit_time` or half of `max_turn_time`, whichever is shorter.
    ///   Connections that were not visited keep their order for the next turn.
    /// - A connection with a new event does not wait for all connections that
    ///   have work left from earlier turns.
    /// - In addition, handshakes and writes each get half of this time, and
    ///   accepting, receiving datagrams and sending datagrams a quarter each.
    ///
    /// Default: 20 ms.
    pub max_turn_time: Duration,
}

impl Default for TurnBudget {
    fn default() -> Self {
        Self {
            read_bytes: 288 * KIB,
            write_bytes: 288 * KIB,
            accepts: 64,
            handshake_steps: 2,
            commands: 1024,
            datagrams: 256,
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
            ("budget.datagrams", self.datagrams == 0),
            ("budget.max_visit_time", self.max_visit_time.is_zero()),
            ("budget.max_turn_time", self.max_turn_time.is_zero()),
        ])
    }
}

/// Size of the queue of commands from other threads. Commands that are being
/// run have left the queue; a turn takes up to [`TurnBudget::commands`] of them.
/// The memory of the queue grows with the commands in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandQueueConfig {
    /// Maximum number of commands in the queue, from 1 to 2^24. A further
    /// command is refused.
    ///
    /// Default: 4,096.
    pub max_commands: usize,
    /// Maximum number of bytes of messages in the queue. A message that would
    /// exceed it is refused, unless the queue contains no message. Not zero.
    ///
    /// Default: 16 MiB, which equals four full send queues.
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

/// Policy for a panic in a callback.
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
    /// Ends the connection that the callback was called for, with
    /// [`DisconnectReason::HandlerPanicked`](crate::DisconnectReason::HandlerPanicked).
    /// The panic is logged and counted, and the node continues.
    ///
    /// - A panic in a callback without a connection (`on_start`, `on_timer`,
    ///   `on_turn`, a posted call) ends that call only. After a panic in
    ///   `on_accept` the connection is refused.
    /// - A panic in a [`Session`](crate::session::Session) ends its connection
    ///   with [`SessionError::Panicked`](crate::error::SessionError::Panicked).
    /// - A panic in a [`Framer`](crate::framing::Framer) ends its connection
    ///   with `HandlerPanicked`, whichever connection the callback was for.
    /// - A panic in the destructor of a session, a framer, a panic payload or a
    ///   posted call that is not run is logged and ends nothing. This applies
    ///   to both settings.
    /// - With `panic = "abort"` panics are not contained.
    ///
    /// With this setting, a failed assertion in a callback does not fail a
    /// test. Use [`OnPanic::Unwind`] in tests, and for a handler whose state
    /// may be inconsistent after a panic.
    Contain,
    /// Unwinds out of the method that runs the node or its
    /// [`Group`](crate::group::Group). After that, do not run the node or group
    /// again. Dropping it closes all connections.
    ///
    /// In a thread, the panic ends the thread.
    /// [`RunningNode::join`](crate::RunningNode::join) resumes the panic, and
    /// [`Shards::join`](crate::shards::Shards::join) returns it as an error. A
    /// test that drops them instead of joining passes.
    Unwind,
}

#[cfg(test)]
mod tests;
