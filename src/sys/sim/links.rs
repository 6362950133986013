//! The links between hosts: their properties, their cuts, and the segments that
//! a cut holds back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::event::{Event, SocketId};
use super::link::Link;

/// The link of a host to itself.
const LOOPBACK: Link = Link::new(Duration::from_micros(20));

/// All links of a world.
#[derive(Debug, Default)]
pub(super) struct Links {
    default: Link,
    by_pair: BTreeMap<(IpAddr, IpAddr), Link>,
    /// Time until which the link from one host to another is busy.
    busy_until: BTreeMap<(IpAddr, IpAddr), Duration>,
    /// For each host, the hosts to which its links are cut. The hosts of a group
    /// share one set, so that a partition of large groups takes little memory.
    cut: BTreeMap<IpAddr, Arc<BTreeSet<IpAddr>>>,
    /// Segments that their senders retransmit when they can.
    held: Vec<Event>,
}

impl Links {
    pub(super) fn set_default(&mut self, link: Link) {
        self.default = link;
    }

    pub(super) fn set(&mut self, a: IpAddr, b: IpAddr, link: Link) {
        self.by_pair.insert(pair(a, b), link);
    }

    pub(super) fn between(&self, a: IpAddr, b: IpAddr) -> Link {
        if a == b {
            return LOOPBACK;
        }
        let link = self.by_pair.get(&pair(a, b));
        link.copied().unwrap_or(self.default)
    }

    /// Sends this many bytes at `now`. Returns how long it takes until they are
    /// on the link. Zero without a limit of the bandwidth.
    pub(super) fn occupy(
        &mut self,
        (here, there): (IpAddr, IpAddr),
        bytes: usize,
        now: Duration,
    ) -> Duration {
        let occupied = self.between(here, there).occupied(bytes);
        if occupied.is_zero() {
            return Duration::ZERO;
        }
        let busy = self.busy_until.entry((here, there)).or_default();
        *busy = (*busy).max(now) + occupied;
        *busy - now
    }

    pub(super) fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        // The link of a host to itself is never cut.
        from != to && self.cut.get(&from).is_some_and(|cut| cut.contains(&to))
    }

    /// Cuts each link from a host of `from` to a host of `to`.
    pub(super) fn cut(&mut self, from: &[IpAddr], to: &[IpAddr]) {
        self.change_cuts(from, |cut| cut.extend(to));
    }

    /// Restores each link between a host of `from` and a host of `to`.
    pub(super) fn mend(&mut self, from: &[IpAddr], to: &[IpAddr]) {
        for (from, to) in [(from, to), (to, from)] {
            let to: BTreeSet<&IpAddr> = to.iter().collect();
            self.change_cuts(from, |cut| cut.retain(|ip| !to.contains(ip)));
        }
    }

    /// Changes the sets of these hosts. Hosts that shared a set share the changed
    /// one.
    fn change_cuts(&mut self, hosts: &[IpAddr], change: impl Fn(&mut BTreeSet<IpAddr>)) {
        let none = Arc::default();
        let mut last: Option<[Arc<BTreeSet<IpAddr>>; 2]> = None;
        for host in hosts {
            let mut cut = self.cut.remove(host).unwrap_or_else(|| Arc::clone(&none));
            match &last {
                Some([before, after]) if Arc::ptr_eq(before, &cut) => cut = Arc::clone(after),
                _ => {
                    let before = (Arc::strong_count(&cut) > 1).then(|| Arc::clone(&cut));
                    change(Arc::make_mut(&mut cut));
                    last = before.map(|before| [before, Arc::clone(&cut)]);
                }
            }
            if !cut.is_empty() {
                self.cut.insert(*host, cut);
            }
        }
    }

    pub(super) fn mend_all(&mut self) {
        self.cut.clear();
    }

    pub(super) fn hold(&mut self, segment: Event) {
        self.held.push(segment);
    }

    pub(super) fn take_held(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.held)
    }

    /// Returns whether data of a socket, or its acknowledgement, is held back.
    pub(super) fn holds_data_of(&self, id: SocketId) -> bool {
        let is_of = |held: &Event| match held {
            Event::Data { from, .. } => *from == id,
            Event::Ack { to, .. } => *to == id,
            _ => false,
        };
        self.held.iter().any(is_of)
    }
}

/// Returns the key of a link, which is the same for both directions.
fn pair(a: IpAddr, b: IpAddr) -> (IpAddr, IpAddr) {
    (a.min(b), a.max(b))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::sys::sim::Random;

    const HOSTS: u8 = 6;

    fn ip(number: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, number).into()
    }

    #[test]
    fn cuts_equal_a_set_of_pairs() {
        let mut random = Random::new(1);
        let (mut links, mut pairs) = (Links::default(), BTreeSet::new());
        for round in 0..2_000 {
            let mut group = || -> Vec<IpAddr> {
                let hosts = (0..HOSTS).filter(|_| random.chance(0.4));
                hosts.map(ip).collect()
            };
            let (from, to) = (group(), group());
            let between = || from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b)));
            match random.below(10) {
                0..5 => {
                    links.cut(&from, &to);
                    pairs.extend(between().filter(|(a, b)| a != b));
                }
                5..9 => {
                    links.mend(&from, &to);
                    let is_mended = |a, b| between().any(|pair| pair == (a, b) || pair == (b, a));
                    pairs.retain(|(a, b)| !is_mended(*a, *b));
                }
                _ => {
                    links.mend_all();
                    pairs.clear();
                }
            }
            for (a, b) in (0..HOSTS).flat_map(|a| (0..HOSTS).map(move |b| (ip(a), ip(b)))) {
                let is_cut = links.is_cut(a, b);
                assert_eq!(is_cut, pairs.contains(&(a, b)), "{a} to {b}, round {round}");
            }
        }
    }

    #[test]
    fn cut_groups_share_sets() {
        let ips = |range: std::ops::Range<u32>| -> Vec<IpAddr> {
            range.map(|bits| Ipv4Addr::from_bits(bits).into()).collect()
        };
        let (here, there) = (ips(0..5_000), ips(5_000..10_000));
        let mut links = Links::default();
        links.cut(&here, &there);
        links.cut(&there, &here);
        let sets: BTreeSet<_> = links.cut.values().map(Arc::as_ptr).collect();
        assert_eq!(sets.len(), 2);
        links.mend(&here, &there);
        assert!(links.cut.is_empty());
    }
}
