//! The link between two hosts.

use std::time::Duration;

/// The link between two hosts, the same in both directions. Segments of one
/// connection stay in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Link {
    /// The time that a segment takes; 1 µs or more. Default: 1 ms. Within a
    /// host it is 20 µs, whatever the links are.
    pub latency: Duration,
    /// The largest addition to the latency, drawn for each segment. Default:
    /// zero.
    pub jitter: Duration,
    /// Bytes per second in each direction, which all connections of the two
    /// hosts share; `None` for no limit. Default: `None`.
    pub bandwidth: Option<u64>,
}

impl Default for Link {
    fn default() -> Self {
        Self::new(Duration::from_millis(1))
    }
}

impl Link {
    /// A link with this latency, no jitter and unlimited bandwidth.
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

    /// How long this many bytes keep the link busy.
    pub(super) fn occupied(&self, bytes: usize) -> Duration {
        let Some(rate) = self.bandwidth else {
            return Duration::ZERO;
        };
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
