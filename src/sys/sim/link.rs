//! What lies between two hosts.

use std::time::Duration;

/// How segments travel between two hosts, in both directions alike. Within a connection the order is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Link {
    /// How long a segment travels. At least a microsecond. Default: 1 ms; within a host 20 µs.
    pub latency: Duration,
    /// How much longer at most, drawn for each segment. Default: zero.
    pub jitter: Duration,
    /// Bytes per second in each direction, shared by all connections of the two hosts; `None` for no bound. Default: `None`.
    pub bandwidth: Option<u64>,
}

impl Default for Link {
    fn default() -> Self {
        Self::new(Duration::from_millis(1))
    }
}

impl Link {
    /// A link with this latency, no jitter and no bound on the bandwidth.
    pub const fn new(latency: Duration) -> Self {
        Self {
            latency,
            jitter: Duration::ZERO,
            bandwidth: None,
        }
    }

    /// The same with this much jitter.
    #[must_use]
    pub const fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// The same with this many bytes per second. Zero is taken as one.
    #[must_use]
    pub const fn bandwidth(self, bytes_per_second: u64) -> Self {
        Self {
            bandwidth: Some(bytes_per_second),
            ..self
        }
    }

    /// How long the sending of this many bytes keeps the link busy.
    pub(super) fn occupied(&self, bytes: usize) -> Duration {
        let Some(rate) = self.bandwidth else {
            return Duration::ZERO;
        };
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
