//! Who may come in.
//!
//! Every connection and every dial is charged when it gets its slot and released when it dies, once each. Nothing here
//! is ever approximated: what is counted is what is there.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::addr::CompactAddr;
use crate::config::{Config, PrefixLimit};
use crate::error::ConnectError;
use crate::id::{Direction, ShardId};
use crate::mutants::mutant;

/// The one set of counts that all shards of a node go by. Taken for a few lines at a time when a connection comes or goes,
/// never for a message: nobody else wants it in a node without shards, and that costs some 20 ns each time.
#[derive(Clone, Debug)]
pub(crate) struct SharedLimits(Arc<Mutex<Limits>>);

impl SharedLimits {
    pub(crate) fn new(config: &Config) -> Self {
        Self(Arc::new(Mutex::new(Limits::new(config))))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Limits> {
        // Nothing is left half done here that a panic could interrupt.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counts that admission is decided by.
#[derive(Debug)]
pub(crate) struct Limits {
    max_connections: usize,
    max_per_ip: usize,
    max_inbound: usize,
    max_outbound: usize,
    per_prefix: Option<PrefixLimit>,
    total: usize,
    /// Accepted connections whose handshake is not over, and places for those that are just being accepted.
    inbound: usize,
    /// Shards that would accept if there were a place.
    held_up: Vec<ShardId>,
    /// Dials under way.
    outbound: usize,
    by_ip: HashMap<IpAddr, u32>,
    by_prefix: HashMap<IpAddr, u32>,
    /// Connections and dials by the address of the other end.
    by_address: HashMap<CompactAddr, u32>,
}

impl Limits {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            max_connections: config.max_connections,
            max_per_ip: config.max_connections_per_ip,
            max_inbound: config.max_connecting_inbound,
            max_outbound: config.max_connecting_outbound,
            per_prefix: config.max_connections_per_prefix,
            total: 0,
            inbound: 0,
            held_up: Vec::new(),
            outbound: 0,
            by_ip: HashMap::new(),
            by_prefix: HashMap::new(),
            by_address: HashMap::new(),
        }
    }

    /// Charges a connection with this other end, if every limit allows it; otherwise nothing is charged.
    pub(crate) fn charge(&mut self, addr: SocketAddr) -> Result<(), ConnectError> {
        let addr = canonical(addr);
        if self.total >= self.max_connections {
            return Err(ConnectError::TooManyConnections);
        }
        if self
            .by_ip
            .get(&addr.ip())
            .is_some_and(|count| *count as usize >= self.max_per_ip)
        {
            return Err(ConnectError::TooManyFromAddress);
        }
        if let Some(limit) = &self.per_prefix {
            let prefix = prefix(addr.ip(), limit);
            if self
                .by_prefix
                .get(&prefix)
                .is_some_and(|count| *count as usize >= limit.max)
            {
                return Err(ConnectError::TooManyFromPrefix);
            }
            *self.by_prefix.entry(prefix).or_default() += 1;
        }
        self.total += if mutant!(ChargeTwice) { 2 } else { 1 };
        *self.by_ip.entry(addr.ip()).or_default() += 1;
        *self.by_address.entry(addr.into()).or_default() += 1;
        Ok(())
    }

    /// Takes back what [`Limits::charge`] charged, but for the address.
    pub(crate) fn release(&mut self, addr: SocketAddr) {
        let ip = canonical(addr).ip();
        debug_assert!(self.total > 0);
        self.total = self.total.saturating_sub(1);
        discharge(&mut self.by_ip, &ip);
        if let Some(limit) = self.per_prefix.as_ref().filter(|_| !mutant!(KeepPrefix)) {
            discharge(&mut self.by_prefix, &prefix(ip, limit));
        }
    }

    /// Lets the address be dialled again: the connection is ending, even if it still counts.
    pub(crate) fn forget(&mut self, addr: SocketAddr) {
        discharge(&mut self.by_address, &canonical(addr).into());
    }

    /// Whether one more dial may be under way.
    pub(crate) fn check_outbound(&self) -> Result<(), ConnectError> {
        if self.outbound >= self.max_outbound && !mutant!(DialWithoutLimit) {
            return Err(ConnectError::TooManyConnecting);
        }
        Ok(())
    }

    /// Takes a place for a connection that this shard is about to accept. If there is none, no further connection is to be
    /// accepted until a handshake is over; [`Limits::end_connecting`] tells then.
    pub(crate) fn take_place(&mut self, shard: ShardId) -> bool {
        if self.inbound < self.max_inbound {
            self.inbound += 1;
            return true;
        }
        if !self.held_up.contains(&shard) {
            self.held_up.push(shard);
        }
        false
    }

    /// A dial has begun.
    pub(crate) fn start_connect(&mut self) {
        self.outbound += 1;
    }

    /// It is established, or has come to nothing. The shards that waited for the place that is free now.
    #[must_use]
    pub(crate) fn end_connecting(&mut self, direction: Direction) -> Vec<ShardId> {
        let count = match direction {
            Direction::Outbound => &mut self.outbound,
            Direction::Inbound => &mut self.inbound,
        };
        debug_assert!(*count > 0);
        *count = count.saturating_sub(1);
        match direction {
            Direction::Outbound => Vec::new(),
            Direction::Inbound => std::mem::take(&mut self.held_up),
        }
    }

    /// Whether no further connection is accepted until a handshake is over.
    #[cfg(feature = "sim")]
    pub(crate) fn inbound_is_full(&self) -> bool {
        self.inbound >= self.max_inbound
    }

    /// Compares what is counted with what is there, and that with the limits.
    #[cfg(feature = "sim")]
    pub(crate) fn recount<'a>(
        &self,
        conns: impl Iterator<Item = &'a crate::connection::ConnEntry>,
    ) -> Result<(), String> {
        use crate::connection::Lifecycle;

        let (mut inbound, mut outbound) = (0, 0);
        let (mut charged, mut known) = (Vec::new(), Vec::new());
        for entry in conns.filter(|entry| entry.is_live()) {
            let addr = canonical(entry.addr());
            charged.push(addr.ip());
            let state = entry.lifecycle();
            let is_connecting = matches!(state, Lifecycle::Connecting | Lifecycle::Handshaking);
            match entry.direction() {
                Direction::Outbound => outbound += usize::from(is_connecting),
                Direction::Inbound => inbound += usize::from(is_connecting),
            }
            if !matches!(state, Lifecycle::Closing(_)) {
                known.push(CompactAddr::from(addr));
            }
        }
        let total = charged.len();
        let limit = self.per_prefix.as_ref();
        let prefix = |limit| charged.iter().map(move |ip| prefix(*ip, limit));
        let prefixes = limit.into_iter().flat_map(prefix).collect();
        let counted = (self.total, self.inbound, self.outbound);
        if counted != (total, inbound, outbound) {
            return Err(format!(
                "{counted:?} are charged, but there are {:?}",
                (total, inbound, outbound)
            ));
        }
        let equal = are_counts_of(&self.by_prefix, prefixes)
            && are_counts_of(&self.by_ip, charged)
            && are_counts_of(&self.by_address, known);
        if !equal {
            return Err("what is charged by address is not what is there".to_owned());
        }
        let prefix_max = limit.map_or(0, |limit| limit.max);
        let is_over = total > self.max_connections
            || inbound > self.max_inbound
            || outbound > self.max_outbound
            || self
                .by_ip
                .values()
                .any(|count| *count as usize > self.max_per_ip)
            || self
                .by_prefix
                .values()
                .any(|count| *count as usize > prefix_max);
        if is_over {
            return Err("there are more connections than a limit allows".to_owned());
        }
        Ok(())
    }

    /// Whether there is a connection or a dial with this other end.
    pub(crate) fn knows(&self, addr: SocketAddr) -> bool {
        self.by_address.contains_key(&canonical(addr).into())
    }
}

fn discharge<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        found => {
            debug_assert!(found.is_some(), "released without a charge");
            counts.remove(key);
        }
    }
}

/// The one form of an address among those that mean the same end: an IPv4-mapped IPv6 address is the IPv4 address
/// (RFC 4291, 2.5.5.2), and to dial the unspecified address is to dial this host (Linux, ip(7)).
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    match (ip, addr) {
        // A link-local address means nothing without its interface.
        (IpAddr::V6(ip), SocketAddr::V6(v6)) => {
            std::net::SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into()
        }
        (ip, addr) => SocketAddr::new(ip, addr.port()),
    }
}

/// The network that an address belongs to: the address with all but its first bits cleared.
fn prefix(ip: IpAddr, limit: &PrefixLimit) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(limit.v4_bits))
                .unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(limit.v6_bits))
                .unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

/// Whether these are how often each is among `all`. Sorted, since the simulator asks after every turn, and a map of its own
/// costs it three times as much.
#[cfg(feature = "sim")]
fn are_counts_of<K: Ord + std::hash::Hash>(counts: &HashMap<K, u32>, mut all: Vec<K>) -> bool {
    all.sort_unstable();
    let mut different = 0;
    for same in all.chunk_by(|a, b| a == b) {
        if counts.get(&same[0]).map(|count| *count as usize) != Some(same.len()) {
            return false;
        }
        different += 1;
    }
    different == counts.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(change: impl FnOnce(&mut Config)) -> Limits {
        let mut config = Config::default();
        change(&mut config);
        config.validate().unwrap();
        Limits::new(&config)
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_mapped_address_shares_the_bucket_of_the_plain_one() {
        let mut limits = limits(|config| config.max_connections_per_ip = 1);
        limits.charge(addr("10.0.0.1:1")).unwrap();
        let mapped = addr("[::ffff:10.0.0.1]:2");
        assert_eq!(limits.charge(mapped), Err(ConnectError::TooManyFromAddress));
        limits.release(addr("[::ffff:10.0.0.1]:1"));
        limits.charge(mapped).unwrap();
    }

    #[test]
    fn two_ports_of_an_address_fill_one_bucket_which_goes_away_when_empty() {
        let mut limits = limits(|config| config.max_connections_per_ip = 2);
        limits.charge(addr("10.0.0.1:1")).unwrap();
        limits.charge(addr("10.0.0.1:2")).unwrap();
        assert_eq!(
            limits.charge(addr("10.0.0.1:3")),
            Err(ConnectError::TooManyFromAddress)
        );
        limits.charge(addr("10.0.0.2:1")).unwrap();
        for end in ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1"] {
            limits.forget(addr(end));
            limits.release(addr(end));
        }
        assert!(limits.by_ip.is_empty() && limits.by_address.is_empty());
        assert_eq!(limits.total, 0);
    }

    #[test]
    fn neighbours_share_a_prefix() {
        let limit = PrefixLimit {
            max: 2,
            ..PrefixLimit::default()
        };
        let mut limits = limits(|config| config.max_connections_per_prefix = Some(limit));
        limits.charge(addr("10.0.0.1:1")).unwrap();
        limits.charge(addr("10.0.0.255:1")).unwrap();
        assert_eq!(
            limits.charge(addr("10.0.0.77:1")),
            Err(ConnectError::TooManyFromPrefix)
        );
        limits.charge(addr("10.0.1.1:1")).unwrap();
        limits.charge(addr("[2001:db8::1]:1")).unwrap();
        limits.charge(addr("[2001:db8::ffff:0:0:1]:1")).unwrap();
        assert_eq!(
            limits.charge(addr("[2001:db8::2]:1")),
            Err(ConnectError::TooManyFromPrefix)
        );
        limits.charge(addr("[2001:db8:0:1::2]:1")).unwrap();
    }

    #[test]
    fn a_refusal_charges_nothing() {
        let limit = PrefixLimit {
            max: 1,
            ..PrefixLimit::default()
        };
        let mut limits = limits(|config| {
            config.max_connections_per_prefix = Some(limit);
            config.max_connections = 2;
        });
        limits.charge(addr("10.0.0.1:1")).unwrap();
        limits.charge(addr("10.0.0.2:1")).unwrap_err();
        assert_eq!(
            (limits.total, limits.by_ip.len(), limits.by_prefix.len()),
            (1, 1, 1)
        );
        limits.charge(addr("10.0.1.1:1")).unwrap();
        assert_eq!(
            limits.charge(addr("10.0.2.1:1")),
            Err(ConnectError::TooManyConnections)
        );
        assert_eq!(limits.by_prefix.len(), 2);
    }

    #[test]
    fn prefixes_of_every_length_are_computed() {
        let all = |v4_bits, v6_bits| PrefixLimit {
            max: 1,
            v4_bits,
            v6_bits,
        };
        let ip: IpAddr = "255.255.255.255".parse().unwrap();
        assert_eq!(prefix(ip, &all(0, 0)), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        assert_eq!(
            prefix(ip, &all(9, 0)),
            IpAddr::V4(Ipv4Addr::new(255, 128, 0, 0))
        );
        assert_eq!(prefix(ip, &all(32, 0)), ip);
        let ip: IpAddr = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        assert_eq!(prefix(ip, &all(0, 0)), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        assert_eq!(prefix(ip, &all(0, 128)), ip);
    }

    #[test]
    fn the_unspecified_address_is_this_host() {
        assert_eq!(canonical(addr("0.0.0.0:7")), addr("127.0.0.1:7"));
        assert_eq!(canonical(addr("[::]:7")), addr("[::1]:7"));
        assert_eq!(canonical(addr("[::ffff:0.0.0.0]:7")), addr("127.0.0.1:7"));
    }
}
