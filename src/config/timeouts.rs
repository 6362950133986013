//! The deadlines of a connection.

use std::time::Duration;

use super::check;
use crate::error::ConfigError;

/// The deadlines of a connection; `None` switches one off.
///
/// A deadline ends the connection without a word to the peer; to say something first, set a timer and a later deadline.
///
/// Copy [`Config::timeouts`](crate::Config::timeouts), change what differs, and give it to a listener or a dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// From the beginning of a dial, at the end of the turn in which it was asked for, to an established TCP connection.
    /// Default: 5 s.
    pub connect: Option<Duration>,
    /// From an established TCP connection to the end of the session's handshake; nothing where there is no session.
    /// Default: 5 s.
    pub handshake: Option<Duration>,
    /// Without a complete message in either direction. Bytes that make no whole message do not count, and neither does
    /// the time while this node has paused the connection. Default: 60 s.
    pub idle: Option<Duration>,
    /// From the first bytes of a message, or of a record of its session, to its last. Default: 30 s: 8 MiB at 280 KB a
    /// second.
    pub partial_message: Option<Duration>,
    /// With something to write and no byte taken by the kernel. Default: 10 s.
    pub write_stall: Option<Duration>,
    /// From [`Net::close`](crate::Net::close), or from the peer's end of stream, until the queue has left and the
    /// peer has ended its side too; then the connection is ended with what is left. Default: 5 s.
    pub linger: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        Self {
            connect: seconds(5),
            handshake: seconds(5),
            idle: seconds(60),
            partial_message: seconds(30),
            write_stall: seconds(10),
            linger: seconds(5),
        }
    }
}

impl Timeouts {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let all = [
            ("timeouts.connect", self.connect),
            ("timeouts.handshake", self.handshake),
            ("timeouts.idle", self.idle),
            ("timeouts.partial_message", self.partial_message),
            ("timeouts.write_stall", self.write_stall),
            ("timeouts.linger", self.linger),
        ];
        all.into_iter().try_for_each(|(field, timeout)| {
            let problem = "must not be zero; `None` switches it off";
            check(timeout != Some(Duration::ZERO), field, problem)
        })
    }

    /// How often an open connection is looked at: what has just begun cannot be overdue before this time is over, so
    /// traffic need not move the deadline that is set.
    pub(crate) fn shortest(&self) -> Option<Duration> {
        [self.idle, self.partial_message, self.write_stall]
            .into_iter()
            .flatten()
            .min()
    }
}
