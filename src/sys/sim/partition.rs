//! Hosts that are cut from each other.

use std::net::IpAddr;

use super::internet::{Internet, pair};
use super::trace::{Who, mix};

impl Internet {
    pub(super) fn is_partitioned(&self, a: IpAddr, b: IpAddr) -> bool {
        self.partitions.contains(&pair(a, b))
    }

    pub(crate) fn partition(&mut self, these: &[IpAddr], those: &[IpAddr]) {
        self.note(Who::Network, "partition", digest(these), digest(those));
        self.partitions.extend(pairs(these, those));
    }

    pub(crate) fn heal(&mut self, these: &[IpAddr], those: &[IpAddr]) {
        self.note(Who::Network, "heal", digest(these), digest(those));
        for cut in pairs(these, those) {
            self.partitions.remove(&cut);
        }
        self.release_held();
    }

    pub(crate) fn heal_all(&mut self) {
        self.note(Who::Network, "heal all", 0, 0);
        self.partitions.clear();
        self.release_held();
    }
}

/// Every pair of one of these and one of those. Nobody makes a pair with itself.
fn pairs<'a>(
    these: &'a [IpAddr],
    those: &'a [IpAddr],
) -> impl Iterator<Item = (IpAddr, IpAddr)> + 'a {
    let with_those = move |a: &'a IpAddr| those.iter().map(move |b| pair(*a, *b));
    these.iter().flat_map(with_those).filter(|(a, b)| a != b)
}

/// What a trace says of a group of hosts: of a single one its number in 10.0.0.0/8.
fn digest(hosts: &[IpAddr]) -> u64 {
    let number = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => u64::from(ip.to_bits() & 0x00ff_ffff),
        IpAddr::V6(ip) => ip.to_bits() as u64,
    };
    match hosts {
        [one] => number(one),
        several => several.iter().fold(0, |sum, ip| mix(sum, number(ip))),
    }
}
