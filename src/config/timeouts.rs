//! Timeouts of a connection.

use std::time::Duration;

use super::check::check;
use crate::error::ConfigError;

/// The minimum rates of a connection.
///
/// The rate is the average since the message began, or since the queue was
/// empty. A connection below it ends with
/// [`TimeoutKind::ReceiveRate`](crate::error::TimeoutKind::ReceiveRate) or
/// [`TimeoutKind::SendRate`](crate::error::TimeoutKind::SendRate).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MinRate {
    /// Bytes per second that a message must arrive with. Judged while a message
    /// is incomplete and this node has not paused the connection. An idle
    /// connection has no minimum. `None` switches it off.
    ///
    /// Default: 16 KiB per second: 8 MiB, the longest message by default, take
    /// at most 512 s.
    pub receive_bytes_per_second: Option<u32>,
    /// Bytes per second that the kernel must take while something is queued.
    /// `None` switches it off.
    ///
    /// Default: `None`, because the queues have a limit, and a slow reader may
    /// have a slow link.
    pub send_bytes_per_second: Option<u32>,
    /// Time after which the rates are judged.
    ///
    /// Default: 10 s.
    pub after: Duration,
}

impl Default for MinRate {
    fn default() -> Self {
        Self {
            receive_bytes_per_second: Some(16 * 1024),
            send_bytes_per_second: None,
            after: Duration::from_secs(10),
        }
    }
}

impl MinRate {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let zero = "must not be zero; `None` switches it off";
        let (receive, send) = (self.receive_bytes_per_second, self.send_bytes_per_second);
        check(
            receive != Some(0),
            "min_rate.receive_bytes_per_second",
            zero,
        )?;
        check(send != Some(0), "min_rate.send_bytes_per_second", zero)?;
        check(!self.after.is_zero(), "min_rate.after", "must not be zero")
    }

    fn is_set(&self) -> bool {
        self.receive_bytes_per_second.is_some() || self.send_bytes_per_second.is_some()
    }

    /// The time after which the rates are judged, if one is set.
    pub(super) fn judged_after(&self) -> Option<Duration> {
        self.is_set().then_some(self.after)
    }
}

/// Timeouts of a connection. `None` switches one off.
///
/// A timeout ends the connection without a message to the peer. To send one
/// first, set a timer that fires earlier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// From the start of a connect to an established TCP connection. The
    /// connect starts at the end of the turn in which it was asked for.
    ///
    /// Default: 5 s.
    pub connect: Option<Duration>,
    /// From an established TCP connection to the end of the session's
    /// handshake. A connection without a session has none.
    ///
    /// Default: 5 s.
    pub handshake: Option<Duration>,
    /// Without a complete message in either direction. Bytes of an incomplete
    /// message do not count, nor does the time while this node has paused the
    /// connection.
    ///
    /// Default: 60 s.
    pub idle: Option<Duration>,
    /// Without a byte of an incomplete message, or of an incomplete record of
    /// the session. The time while this node has paused the connection does not
    /// count. [`MinRate`] bounds the time of a message whose bytes arrive
    /// slowly.
    ///
    /// Default: 30 s.
    pub partial_message: Option<Duration>,
    /// With bytes to write of which the kernel takes none, also while this node
    /// has paused the connection. A peer that pauses this connection for longer
    /// needs `None` here.
    ///
    /// Default: 60 s.
    pub write_stall: Option<Duration>,
    /// After [`Net::close`](crate::Net::close), or after the peer's end of
    /// stream: without a queued byte that the kernel takes, and then from the
    /// last byte until the peer has closed its side too. A peer that reads gets
    /// everything that is queued, however long it takes. Then the connection is
    /// ended, and reset if something is left.
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
            write_stall: seconds(60),
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

    pub(super) fn shortest(&self) -> Option<Duration> {
        [self.idle, self.partial_message, self.write_stall]
            .into_iter()
            .flatten()
            .min()
    }
}
