//! The limit on connections with one subnet.

use super::check::check;
use crate::error::ConfigError;

/// Maximum number of connections with one subnet; see
/// [`Limits::max_connections_per_prefix`](crate::config::Limits::max_connections_per_prefix).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrefixLimit {
    /// Maximum number of connections with one subnet. Not zero.
    ///
    /// Default: 512.
    pub max: usize,
    /// Length in bits of the prefix of an IPv4 subnet, from 0 to 32.
    ///
    /// Default: 24.
    pub v4_bits: u8,
    /// Length in bits of the prefix of an IPv6 subnet, from 0 to 128.
    ///
    /// Default: 48, because a site with several networks may get such a prefix
    /// (RFC 6177). A prefix of 64 bits counts as one address already.
    pub v6_bits: u8,
}

impl Default for PrefixLimit {
    fn default() -> Self {
        Self {
            max: 512,
            v4_bits: 24,
            v6_bits: 48,
        }
    }
}

impl PrefixLimit {
    pub(super) fn validate(self) -> Result<(), ConfigError> {
        let field = "limits.max_connections_per_prefix";
        let zero = "must not be zero; `None` disables it";
        check(self.max > 0, field, zero)?;
        let fits = self.v4_bits <= 32 && self.v6_bits <= 128;
        check(fits, field, "has more bits than an address")
    }
}
