//! Timeouts of a connection.

use std::time::Duration;

use super::check::check;
use crate::error::ConfigError;

/// Timeouts of a connection. `None` switches one off.
///
/// A timeout ends the connection without a message to the peer. To send one first,
/// set a timer that fires earlier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// From the start of a connect to an established TCP connection. The connect
    /// starts at the end of the turn in which it was asked for.
    ///
    /// Default: 5 s.
    pub connect: Option<Duration>,
    /// From an established TCP connection to the end of the session's handshake. A
    /// connection without a session has none.
    ///
    /// Default: 5 s.
    pub handshake: Option<Duration>,
    /// Without a complete message in either direction. Bytes of an incomplete
    /// message do not count, nor does the time while this node has paused the
    /// connection.
    ///
    /// Default: 60 s.
    pub idle: Option<Duration>,
    /// From the first byte of a message, or of a record of its session, to its
    /// last. The time while this node has paused the connection does not count.
    ///
    /// Default: 30 s, which takes 280 KB a second for 8 MiB.
    pub partial_message: Option<Duration>,
    /// With bytes to write of which the kernel takes none, also while this node
    /// has paused the connection.
    ///
    /// Default: 10 s.
    pub write_stall: Option<Duration>,
    /// From [`Net::close`](crate::Net::close), or from the peer's end of stream,
    /// until the queue has been sent and the peer has closed its side too. Then the
    /// connection is ended with what is left.
    ///
    /// Default: 5 s.
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

    /// How often an open connection is checked. A timeout that has just begun cannot
    /// pass before this time, so traffic need not move the timer.
    pub(crate) fn shortest(&self) -> Option<Duration> {
        [self.idle, self.partial_message, self.write_stall]
            .into_iter()
            .flatten()
            .min()
    }
}
