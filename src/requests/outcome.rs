//! Why there is no answer, or no request.

use std::error::Error;
use std::fmt;

use crate::id::ConnId;

/// A request without an answer, returned by [`Requests::next_failed`](super::Requests::next_failed).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FailedRequest<C> {
    /// The connection that was asked.
    pub conn: ConnId,
    /// The id that [`Requests::begin`](super::Requests::begin) returned.
    pub id: u64,
    /// The reason why there is no answer.
    pub reason: RequestFailure,
    /// The value that was given to [`Requests::begin`](super::Requests::begin).
    pub context: C,
}

/// The reason why a request has failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RequestFailure {
    /// There was no answer within the timeout of the request.
    TimedOut,
    /// The connection ended before the answer.
    Disconnected,
}

impl fmt::Display for RequestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "no answer in time",
            Self::Disconnected => "the connection ended before the answer",
        })
    }
}

impl Error for RequestFailure {}

/// The error of [`Requests::begin`](super::Requests::begin).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct BeginError<C> {
    /// The reason why the request was refused.
    pub reason: RequestRefusal,
    /// The value that was given to [`Requests::begin`](super::Requests::begin).
    pub context: C,
}

/// The reason why [`Requests::begin`](super::Requests::begin) refused a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RequestRefusal {
    /// The connection is not open, or belongs to another
    /// [shard](crate::shards).
    NotConnected,
    /// [`max_requests`](super::RequestLimits::max_requests) is reached.
    TooManyRequests,
    /// [`max_requests_per_connection`](super::RequestLimits::max_requests_per_connection)
    /// is reached.
    TooManyOnConnection,
}

impl fmt::Display for RequestRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "the connection is not open",
            Self::TooManyRequests => "too many requests have no answer",
            Self::TooManyOnConnection => "too many requests on this connection have no answer",
        })
    }
}

impl Error for RequestRefusal {}

impl<C> fmt::Display for BeginError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<C: fmt::Debug> Error for BeginError<C> {}
