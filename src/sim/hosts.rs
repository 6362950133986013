//! What lies between hosts: links, and cuts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::node_id::NodeId;
use super::wire::{Wire, WireListener};
use super::world::World;
use crate::sys::sim::Link;

/// One host or several, for [`World::partition`] and [`World::heal`]: a node, a scripted peer or an address, or an array, a
/// slice or a vector of one of these.
pub trait Hosts {
    /// Their addresses.
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
    /// Cuts the links between two hosts, or between every host of one group and every one of the other: from now on nothing
    /// arrives. Within a group, and with everybody else, all is as before. What is sent meanwhile, the kernels send again after
    /// [`World::heal`], unless they have given up (after fifteen minutes; a reset is not repeated).
    ///
    /// A host that is in both groups is cut from the others of each, and not from itself. Cutting what is cut changes nothing.
    ///
    /// ```
    /// use peerloop::sim::World;
    /// use peerloop::{Config, ConnId, Handler, Net};
    ///
    /// struct Deaf;
    /// # impl Handler for Deaf {
    /// #     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// # }
    ///
    /// let mut world = World::new(7);
    /// let nodes: Vec<_> = (0..5).map(|_| world.node(Config::default(), Deaf)).collect();
    /// world.partition(nodes[0], nodes[1]);
    /// world.partition([nodes[0], nodes[1]], &nodes[2..]);
    /// world.heal(nodes[0], &nodes);
    /// world.heal_all();
    /// ```
    pub fn partition(&mut self, a: impl Hosts, b: impl Hosts) {
        self.internet.lock().partition(&a.hosts(), &b.hosts());
    }

    /// Mends the links between two hosts, or between every host of one group and every one of the other. What the kernels have
    /// kept is sent again within half a second.
    pub fn heal(&mut self, a: impl Hosts, b: impl Hosts) {
        self.internet.lock().heal(&a.hosts(), &b.hosts());
    }

    /// Mends every link that [`World::partition`] has cut. Machines without power stay without; see [`World::restart`].
    pub fn heal_all(&mut self) {
        self.internet.lock().heal_all();
    }

    /// Says how segments travel between two hosts from now on. Default: [`Link::default`].
    pub fn link(&mut self, a: impl Into<IpAddr>, b: impl Into<IpAddr>, link: Link) {
        self.internet.lock().set_link(a.into(), b.into(), link);
    }

    /// Says how segments travel where [`World::link`] has said nothing.
    pub fn default_link(&mut self, link: Link) {
        self.internet.lock().set_default_link(link);
    }
}
