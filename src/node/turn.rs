//! The outcomes of turns and runs.

use std::io;
use std::time::{Duration, Instant};

/// The result of a turn: whether there is work left.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use = "a node that has stopped runs no more turns"]
pub enum Turn {
    /// There is no work until an event, a deadline or a command.
    Waiting,
    /// There is more work at once, because a budget ended the turn. Peers that
    /// send without pause can cause this in every turn. A loop with other work
    /// must limit the number of turns in a row.
    MoreWork,
    /// The shutdown is complete. Listening, connecting and commands are
    /// refused. This is returned once. A further turn is an error.
    Stopped,
}

/// The reason why [`Node::run_until`](crate::Node::run_until) or a similar
/// method returned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use = "the condition may be false"]
pub enum RunEnd {
    /// The condition is true.
    Done,
    /// The time has passed, and the condition is false.
    TimedOut,
    /// The shutdown is complete, and the condition is false.
    Stopped,
}

/// Maximum time that a turn of a stopped node waits before it fails.
pub(super) const STOPPED_PAUSE: Duration = Duration::from_millis(10);

pub(super) fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the node has stopped")
}

/// Returns the time until `end` as a timeout of a turn, or `None` if it has
/// passed. `end` is `None` if it is beyond the range of the clock.
pub(super) fn time_left(end: Option<Instant>, now: Instant) -> Option<Duration> {
    // Not every selector can wait for more than some days.
    const TURN_MAX: Duration = Duration::from_secs(60 * 60);
    let left = end.map_or(TURN_MAX, |end| end.saturating_duration_since(now));
    (!left.is_zero()).then(|| left.min(TURN_MAX))
}
