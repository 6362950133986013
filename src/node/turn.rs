//! The outcomes of turns and runs.

use std::io;
use std::time::{Duration, Instant};

/// The work that is left after a turn.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use = "a node that has stopped takes no more turns"]
pub enum Turn {
    /// Nothing, until an event, a deadline or a command comes.
    Waiting,
    /// More, at once: a budget ended the turn. Peers that send without pause
    /// can keep it so. A loop with other work to do bounds how many turns it
    /// takes in a row.
    MoreWork,
    /// Nothing more: the shutdown is complete. Listening, connecting and
    /// commands are refused. This is returned once. A further turn of the node
    /// is an error.
    Stopped,
}

/// Why [`Node::run_until`](crate::Node::run_until) and its relatives have
/// returned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use = "the condition may not hold"]
pub enum RunEnd {
    /// The condition holds.
    Done,
    /// The time is over, and the condition does not hold.
    TimedOut,
    /// The shutdown is complete, and the condition does not hold.
    Stopped,
}

/// How long a turn of a stopped node waits at most before it fails.
pub(super) const STOPPED_PAUSE: Duration = Duration::from_millis(10);

pub(super) fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the node has stopped")
}

/// The time until `end`, as a timeout of a turn; `None` if it has come. Without
/// an end there is always time.
pub(super) fn time_left(end: Option<Instant>, now: Instant) -> Option<Duration> {
    // Not every selector can wait for longer than some days.
    const TURN_MAX: Duration = Duration::from_secs(60 * 60);
    let left = end.map_or(TURN_MAX, |end| end.saturating_duration_since(now));
    (!left.is_zero()).then(|| left.min(TURN_MAX))
}
