//! The connections of a node by the ids of their peers, and the order of
//! connections between the same two nodes.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::ConnId;
use crate::mutants::mutant;
use crate::session::PeerHello;

/// The connections of a node, shared by its shards and sessions.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<KeptConnections>);

/// One connection for each peer, and the numbers that were given.
#[derive(Debug, Default)]
pub(super) struct KeptConnections {
    by_node: HashMap<[u8; 32], Kept>,
    by_conn: HashMap<ConnId, [u8; 32]>,
    last_number: u64,
}

/// The connection that is kept with a peer.
#[derive(Debug)]
struct Kept {
    conn: ConnId,
    nonce: u64,
    own_number: u64,
    rank: Rank,
}

/// The position of a connection among those between the same two processes.
/// The highest one stays. Both ends compute the same ranks, because each rank
/// consists of what both ends have sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rank {
    /// Both ends had another connection when they accepted this one. The
    /// earliest such connection is the highest.
    Duplicate(Reverse<[u64; 2]>),
    /// At least one end had no other connection. The latest such connection is
    /// the highest: the end that has made it may have lost the earlier one
    /// without the other end noticing.
    Needed([u64; 2]),
}

/// The choice between a new connection and the one that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Choice {
    First,
    Newer { over: ConnId },
    Older { kept: ConnId },
}

impl Registry {
    pub(super) fn lock(&self) -> MutexGuard<'_, KeptConnections> {
        // No call of the program is made under the lock, so that a panic cannot
        // leave the maps inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether there is a connection with the process that sent this
    /// hello.
    pub(super) fn has_connection(&self, hello: &PeerHello) -> bool {
        let connections = self.lock();
        let kept = connections.by_node.get(&hello.node_id);
        kept.is_some_and(|kept| kept.nonce == hello.nonce)
    }
}

impl KeptConnections {
    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Adds an established connection, unless another one with the same node is
    /// kept. `is_open` returns whether a connection is still open.
    pub(super) fn add(
        &mut self,
        own_id: &[u8; 32],
        hello: &PeerHello,
        conn: ConnId,
        is_open: impl Fn(ConnId) -> bool,
    ) -> Choice {
        let new = Kept {
            conn,
            nonce: hello.nonce,
            own_number: hello.order.own_number,
            rank: rank(own_id, hello),
        };
        let choice = match self.by_node.get(&hello.node_id) {
            None => Choice::First,
            Some(old) if old.conn == conn => return Choice::First,
            Some(old) if !is_open(old.conn) || new.is_above(old) => {
                Choice::Newer { over: old.conn }
            }
            Some(old) => Choice::Older { kept: old.conn },
        };
        if let Choice::Newer { over } = choice {
            self.by_conn.remove(&over);
        }
        if !matches!(choice, Choice::Older { .. }) {
            self.by_node.insert(hello.node_id, new);
            self.by_conn.insert(conn, hello.node_id);
        }
        choice
    }

    /// Removes a connection. Returns the peer if the connection was the one
    /// that is kept.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<[u8; 32]> {
        let node_id = self.by_conn.remove(&conn)?;
        self.by_node.remove(&node_id);
        Some(node_id)
    }

    pub(super) fn find(&self, node_id: &[u8; 32]) -> Option<ConnId> {
        self.by_node.get(node_id).map(|kept| kept.conn)
    }

    pub(super) fn node_of(&self, conn: ConnId) -> Option<[u8; 32]> {
        self.by_conn.get(&conn).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.by_node.len()
    }

    pub(super) fn list(&self) -> Vec<([u8; 32], ConnId)> {
        let entries = self.by_node.iter();
        let mut list: Vec<_> = entries.map(|(id, kept)| (*id, kept.conn)).collect();
        list.sort_unstable_by_key(|(node_id, _)| *node_id);
        list
    }
}

impl Kept {
    /// Returns whether this connection stays instead of the other one.
    fn is_above(&self, other: &Self) -> bool {
        if self.nonce == other.nonce {
            self.rank > other.rank
        } else {
            // The peer was restarted, so only one of them has a process at its
            // other end. This node has numbered that one later.
            self.own_number > other.own_number
        }
    }
}

/// Returns the rank of a connection. The numbers of the node with the lower id
/// decide. Two connections that were made at the same time may have different
/// orders at their ends.
fn rank(own_id: &[u8; 32], hello: &PeerHello) -> Rank {
    let order = hello.order;
    let mut numbers = [order.own_number, order.number];
    if *own_id > hello.node_id {
        numbers.reverse();
    }
    mutant!(OrderByOwnNumber => numbers = [order.own_number, order.number]);
    if order.own_has_another && order.has_another {
        Rank::Duplicate(Reverse(numbers))
    } else {
        Rank::Needed(numbers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::ShardId;
    use crate::session::ConnectionOrder;

    fn hello(id: u8, nonce: u64, order: ConnectionOrder) -> PeerHello {
        PeerHello {
            version: 1,
            node_id: [id; 32],
            nonce,
            blob: Vec::new(),
            order,
        }
    }

    /// The same connection, seen from the other end.
    fn mirrored(order: ConnectionOrder) -> ConnectionOrder {
        ConnectionOrder {
            own_number: order.number,
            number: order.own_number,
            own_has_another: order.has_another,
            has_another: order.own_has_another,
        }
    }

    fn order() -> impl Strategy<Value = ConnectionOrder> {
        let numbers = (0..4_u64, 0..4_u64);
        (numbers, any::<(bool, bool)>()).prop_map(|((own_number, number), has)| ConnectionOrder {
            own_number,
            number,
            own_has_another: has.0,
            has_another: has.1,
        })
    }

    proptest! {
        #[test]
        fn both_ends_compute_the_same_rank(order in order(), ids in (0..9_u8, 0..9_u8)) {
            prop_assume!(ids.0 != ids.1);
            let here = rank(&[ids.0; 32], &hello(ids.1, 0, order));
            let there = rank(&[ids.1; 32], &hello(ids.0, 0, mirrored(order)));
            prop_assert_eq!(here, there);
        }
    }

    /// Adds connections between the nodes 1 and 2, from the end of node 1.
    fn kept(hellos: &[(u64, ConnectionOrder)]) -> Option<usize> {
        let mut connections = KeptConnections::default();
        let conn = |slot| ConnId::new(ShardId::FIRST, slot, 1);
        let conns: Vec<ConnId> = (0..hellos.len() as u32).map(conn).collect();
        for ((nonce, order), conn) in hellos.iter().zip(&conns) {
            connections.add(&[1; 32], &hello(2, *nonce, *order), *conn, |_| true);
            assert_eq!((connections.len(), connections.by_conn.len()), (1, 1));
        }
        let kept = connections.find(&[2; 32]);
        conns.iter().position(|conn| Some(*conn) == kept)
    }

    #[test]
    fn connection_that_is_added_twice_stays() {
        let mut connections = KeptConnections::default();
        let (conn, hello) = (
            ConnId::new(ShardId::FIRST, 3, 1),
            hello(2, 7, ConnectionOrder::default()),
        );
        for _ in 0..2 {
            let choice = connections.add(&[1; 32], &hello, conn, |_| true);
            assert_eq!(choice, Choice::First);
        }
        assert_eq!(connections.remove(conn), Some([2; 32]));
        assert_eq!(connections.remove(conn), None);
    }

    #[test]
    fn duplicates_lose_and_needed_ones_win() {
        let order = |own_number, number, both| ConnectionOrder {
            own_number,
            number,
            own_has_another: true,
            has_another: both,
        };
        // The numbers of the lower id decide.
        assert_eq!(
            kept(&[(0, order(1, 2, false)), (0, order(2, 1, false))]),
            Some(1)
        );
        assert_eq!(
            kept(&[(0, order(2, 1, false)), (0, order(1, 2, false))]),
            Some(0)
        );
        assert_eq!(
            kept(&[(0, order(1, 1, false)), (0, order(2, 2, true))]),
            Some(0)
        );
        assert_eq!(
            kept(&[(0, order(3, 3, true)), (0, order(2, 2, true))]),
            Some(1)
        );
        // An earlier process of the peer has left.
        assert_eq!(
            kept(&[(0, order(1, 9, false)), (1, order(2, 1, true))]),
            Some(1)
        );
        assert_eq!(
            kept(&[(1, order(2, 1, false)), (0, order(1, 9, false))]),
            Some(0)
        );
    }
}
