//! Handles of nodes.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

/// The id of a node of a [`World`](super::World). Its type parameter is the
/// type of the node's handler, for [`World::with`](super::World::with). It
/// converts to the address of the node's host.
pub struct NodeId<H> {
    pub(super) index: usize,
    pub(super) ip: IpAddr,
    handler: PhantomData<fn() -> H>,
}

impl<H> NodeId<H> {
    pub(super) fn new(index: usize, ip: IpAddr) -> Self {
        Self {
            index,
            ip,
            handler: PhantomData,
        }
    }
}

impl<H> Clone for NodeId<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for NodeId<H> {}

impl<H> PartialEq for NodeId<H> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}

impl<H> Eq for NodeId<H> {}

impl<H> fmt::Debug for NodeId<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.index)
    }
}

impl<H> From<NodeId<H>> for IpAddr {
    fn from(node: NodeId<H>) -> Self {
        node.ip
    }
}
