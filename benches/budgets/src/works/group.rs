//! Idle nodes, alone and as members of a group.

use std::error::Error;
use std::time::Duration;

use peerloop::group::Group;
use peerloop::{Config, ConnId, Handler, Net, Node};

struct Idle;

impl Handler for Idle {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Adds members with the default settings, and runs the first turn of each.
pub(super) fn group(members: u64) -> Result<Group, Box<dyn Error>> {
    let mut group = Group::new()?;
    for _ in 0..members {
        group.add(Config::default(), Idle)?;
    }
    let _ = group.turn(Some(Duration::ZERO))?;
    Ok(group)
}

/// Makes nodes with the default settings, and runs the first turn of each.
pub(super) fn nodes(count: u64) -> Result<Vec<Node<impl Handler>>, Box<dyn Error>> {
    let node = |_| {
        let mut node = Node::new(Config::default(), Idle)?;
        let _ = node.turn(Some(Duration::ZERO))?;
        Ok(node)
    };
    (0..count).map(node).collect()
}
