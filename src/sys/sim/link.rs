//! The link between two hosts.

use std::time::Duration;

/// The link between two hosts, with the same properties in both directions.
/// Segments of one connection stay in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Link {
    /// Time that a segment takes, at least 1 µs. Default: 1 ms. Within a host
    /// it is always 20 µs.
    pub latency: Duration,
    /// Maximum addition to the latency, drawn for each segment. Default: zero.
    pub jitter: Duration,
    /// Bandwidth in each direction, in bytes per second. All connections of the
    /// two hosts share it. `None` means no limit. Default: `None`.
    pub bandwidth: Option<u64>,
}

impl Default for Link {
    fn default() -> Self {
        Self::new(Duration::from_millis(1))
    }
}

impl Link {
    /// Returns a link with this latency, no jitter and unlimited bandwidth.
    pub const fn new(latency: Duration) -> Self {
        Self {
            latency,
            jitter: Duration::ZERO,
            bandwidth: None,
        }
    }

    /// Sets the jitter.
    #[must_use]
    pub const fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// Sets the bandwidth, in bytes per second. Zero counts as one.
    #[must_use]
    pub const fn bandwidth(self, bytes_per_second: u64) -> Self {
        Self {
            bandwidth: Some(bytes_per_second),
            ..self
        }
    }

    /// Returns how long this many bytes occupy the link.
    pub(super) fn occupied(&self, bytes: usize) -> Duration {
        let Some(rate) = self.bandwidth else {
            return Duration::ZERO;
        };
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
