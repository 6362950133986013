//! The links between hosts: their properties, their cuts, and the segments that
//! a cut holds back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
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
    /// Links that are cut, from the first host to the second.
    cut: BTreeSet<(IpAddr, IpAddr)>,
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
        self.cut.contains(&(from, to))
    }

    /// Cuts each link from a host of `from` to a host of `to`.
    pub(super) fn cut(&mut self, from: &[IpAddr], to: &[IpAddr]) {
        self.cut.extend(pairs(from, to));
    }

    /// Restores each link between a host of `from` and a host of `to`.
    pub(super) fn mend(&mut self, from: &[IpAddr], to: &[IpAddr]) {
        for (a, b) in pairs(from, to) {
            self.cut.remove(&(a, b));
            self.cut.remove(&(b, a));
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

/// Returns each pair of a host of one group and a different host of the other.
fn pairs<'a>(from: &'a [IpAddr], to: &'a [IpAddr]) -> impl Iterator<Item = (IpAddr, IpAddr)> + 'a {
    let with_others = move |a: &'a IpAddr| to.iter().map(move |b| (*a, *b));
    from.iter().flat_map(with_others).filter(|(a, b)| a != b)
}
