//! Links between hosts, and partitions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::node_id::NodeId;
use super::wire::{Wire, WireListener};
use super::world::World;
use crate::sys::sim::{Link, Selector};

/// One host or several, for [`World::partition`] and [`World::heal`]: a node, a
/// scripted peer or an address, or an array, slice or vector of these.
pub trait Hosts {
    /// Returns the addresses of the hosts.
    fn hosts(&self) -> Vec<IpAddr>;
}

macro_rules! one_host {
    ($($type:ty),+) => {
        $(
            impl Hosts for $type {
                fn hosts(&self) -> Vec<IpAddr> {
                    vec![(*self).into()]
                }
            }
        )+
    };
}

one_host!(IpAddr, Ipv4Addr, Ipv6Addr, Wire, WireListener);

impl<H> Hosts for NodeId<H> {
    fn hosts(&self) -> Vec<IpAddr> {
        vec![self.ip]
    }
}

impl<T: Hosts> Hosts for [T] {
    fn hosts(&self) -> Vec<IpAddr> {
        self.iter().flat_map(Hosts::hosts).collect()
    }
}

impl<T: Hosts, const N: usize> Hosts for [T; N] {
    fn hosts(&self) -> Vec<IpAddr> {
        self.as_slice().hosts()
    }
}

impl<T: Hosts> Hosts for Vec<T> {
    fn hosts(&self) -> Vec<IpAddr> {
        self.as_slice().hosts()
    }
}

impl<T: Hosts + ?Sized> Hosts for &T {
    fn hosts(&self) -> Vec<IpAddr> {
        (**self).hosts()
    }
}

impl World {
    /// Cuts the links between two hosts, or between each host of one group and
    /// each host of another, in both directions: segments no longer arrive.
    /// Links within a group and to other hosts do not change.
    ///
    /// After [`World::heal`] the kernels send the segments again, unless they
    /// have given up, which takes fifteen minutes. A reset is not sent again. A
    /// host that is in both groups is cut from the other hosts of each group.
    /// Cutting a link that is cut has no effect.
    ///
    /// ```
    /// use peerloop::sim::World;
    /// use peerloop::config::OnPanic;
    /// use peerloop::{Config, ConnId, Handler, Net};
    ///
    /// struct Silent;
    /// # impl Handler for Silent {
    /// #     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// # }
    ///
    /// let config = Config { on_panic: OnPanic::Unwind, ..Config::default() };
    /// let mut world = World::new(7);
    /// let nodes: Vec<_> = (0..5).map(|_| world.node(config.clone(), Silent)).collect();
    /// world.partition(nodes[0], nodes[1]);
    /// world.partition([nodes[0], nodes[1]], &nodes[2..]);
    /// world.heal(nodes[0], &nodes);
    /// world.heal_all();
    /// ```
    pub fn partition(&mut self, a: impl Hosts, b: impl Hosts) {
        self.internet.lock().partition(&a.hosts(), &b.hosts());
    }

    /// Cuts the links in one direction: segments that a host of the group
    /// `from` sends to a host of the group `to` no longer arrive. Segments in
    /// the other direction arrive.
    ///
    /// TCP needs both directions: data whose acknowledgements do not arrive
    /// counts as lost, and the kernel of its sender gives up after fifteen
    /// minutes. An attempt to connect times out, whichever end makes it.
    /// [`World::heal`] restores both directions, in whichever order the groups
    /// are given.
    pub fn partition_one_way(&mut self, from: impl Hosts, to: impl Hosts) {
        let mut internet = self.internet.lock();
        internet.partition_one_way(&from.hosts(), &to.hosts());
    }

    /// Restores the links between two hosts, or between each host of one group
    /// and each host of another. Within half a second the kernels send the kept
    /// segments again. Restoring a link that is not cut has no effect.
    pub fn heal(&mut self, a: impl Hosts, b: impl Hosts) {
        self.internet.lock().heal(&a.hosts(), &b.hosts());
    }

    /// Restores all links. Machines without power stay down; see
    /// [`World::restart`].
    pub fn heal_all(&mut self) {
        self.internet.lock().heal_all();
    }

    /// Sets the link between two hosts, for segments that are sent from now on.
    /// Default: the link of [`World::default_link`].
    pub fn link(&mut self, a: impl Into<IpAddr>, b: impl Into<IpAddr>, link: Link) {
        self.internet.lock().set_link(a.into(), b.into(), link);
    }

    /// Sets the selector of one host or several, for sockets that are
    /// registered from now on. Default: [`Selector::Epoll`], unless the faults
    /// draw another one; see
    /// [`Faults::poll_selector`](super::Faults::poll_selector).
    pub fn selector(&mut self, hosts: impl Hosts, selector: Selector) {
        let mut internet = self.internet.lock();
        for ip in hosts.hosts() {
            internet.set_selector(ip, selector);
        }
    }

    /// Sets the rate at which the clock of one host or several runs from now
    /// on. At a rate of 1.1 a timer of 11 seconds fires after 10 seconds of the
    /// world's time. A node has only its own clock. Default: 1, unless the
    /// faults draw another rate; see
    /// [`Faults::clock_drift`](super::Faults::clock_drift).
    ///
    /// # Panics
    ///
    /// Panics if the rate is not between 0.001 and 1,000.
    pub fn clock_rate(&mut self, hosts: impl Hosts, rate: f64) {
        assert!((0.001..=1000.0).contains(&rate), "a clock rate of {rate}");
        let hosts = hosts.hosts();
        let mut internet = self.internet.lock();
        for ip in &hosts {
            internet.set_clock_rate(*ip, (rate * 1e6).round() as u64);
        }
        drop(internet);
        // The deadlines of the nodes are now at another time of the world.
        for index in 0..self.slots.len() {
            if hosts.contains(&self.slots[index].ip) {
                self.plan(index);
            }
        }
    }

    /// Sets the link between hosts for which [`World::link`] was not called.
    /// Default: [`Link::default`].
    pub fn default_link(&mut self, link: Link) {
        self.internet.lock().set_default_link(link);
    }
}
