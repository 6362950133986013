//! Ranges of addresses that share a prefix.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::check::check;
use crate::error::ConfigError;

/// A network: all addresses with the same prefix.
///
/// An IPv4-mapped IPv6 address counts as the IPv4 address. A network is
/// displayed and parsed as an address, a slash and a number of bits (RFC 4632,
/// 3.1; RFC 4291, 2.3). Without a slash it is a single address.
///
/// ```
/// use peerloop::config::Network;
///
/// let network: Network = "10.1.0.0/16".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?));
/// assert!(network.contains("::ffff:10.1.2.3".parse()?));
/// assert!(!network.contains("10.2.0.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network {
    /// The bits after the prefix are zero.
    prefix: IpAddr,
    bits: u8,
}

impl Network {
    /// Returns the network that contains `addr` and has a prefix of `bits`
    /// bits. The other bits of the address are ignored.
    ///
    /// # Errors
    ///
    /// - [`ConfigError`] if `bits` is more than the address has (32 or 128).
    pub fn new(addr: IpAddr, bits: u8) -> Result<Self, ConfigError> {
        let len = if addr.is_ipv4() { 32 } else { 128 };
        check(bits <= len, "network", "has more bits than an address")?;
        let prefix = masked(addr, bits);
        Ok(Self { prefix, bits })
    }

    /// Returns the first address of the network.
    pub fn addr(&self) -> IpAddr {
        self.prefix
    }

    /// Returns the length of the prefix in bits.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Returns whether an address is in the network.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        addr.is_ipv4() == self.prefix.is_ipv4() && masked(addr, self.bits) == self.prefix
    }
}

impl FromStr for Network {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let malformed = ConfigError {
            field: "network",
            problem: "is not an address, a slash and a number of bits",
        };
        let (addr, bits) = match text.split_once('/') {
            Some((addr, bits)) => (addr, Some(bits)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| malformed)?;
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| malformed)?,
            None if addr.is_ipv4() => 32,
            None => 128,
        };
        Self::new(addr, bits)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.prefix, self.bits)
    }
}

/// Returns the address with all bits after the first `bits` cleared.
pub(crate) fn masked(addr: IpAddr, bits: u8) -> IpAddr {
    match addr {
        IpAddr::V4(addr) => {
            let rest = 32_u32.saturating_sub(bits.into());
            let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
            Ipv4Addr::from_bits(addr.to_bits() & mask).into()
        }
        IpAddr::V6(addr) => {
            let rest = 128_u32.saturating_sub(bits.into());
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            Ipv6Addr::from_bits(addr.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn mask_of_every_length_is_computed() {
        let ip: IpAddr = "255.255.255.255".parse().unwrap();
        assert_eq!(masked(ip, 0), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        assert_eq!(masked(ip, 9), IpAddr::V4(Ipv4Addr::new(255, 128, 0, 0)));
        assert_eq!(masked(ip, 32), ip);
        let ip: IpAddr = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        assert_eq!(masked(ip, 0), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        assert_eq!(masked(ip, 128), ip);
    }

    #[test]
    fn network_contains_addresses_of_its_prefix() {
        let contains = |text: &str, ip: &str| network(text).contains(ip.parse().unwrap());
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(contains("10.1.2.3/8", "10.255.0.1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(!contains("10.0.0.0/8", "a00::1"));
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!contains("2001:db8::/32", "2001:db9::1"));
        assert!(contains("::1", "::1") && !contains("::1", "::2"));
    }

    #[test]
    fn network_display_and_parse_agree() {
        for text in ["10.0.0.0/8", "10.0.0.1/32", "2001:db8::/32", "::/0"] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("10.1.2.3/8").addr(), network("10.0.0.0/8").addr());
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0/8",
            "a/8",
            "::/-1",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
