//! Round trips.

use std::io;

use peerloop::group::{Group, MemberId};
use peerloop::topology::Topology;

use super::run_until;
use crate::support::nodes::{Echo, Pinger, config};
use crate::support::{Job, PATIENCE, failed};

struct Trips {
    group: Group,
    pinger: MemberId<Pinger>,
}

impl Job for Trips {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        let pinger = self.pinger;
        self.group
            .with(pinger, |pinger, net| pinger.begin(net, amount));
        run_until(&mut self.group, |group| {
            let pinger = group.handler(pinger);
            pinger.is_some_and(|pinger| pinger.trips.is_over())
        })?;
        let pinger = self.group.handler(pinger);
        pinger.ok_or_else(|| failed("no pinger"))?.trips.check()
    }
}

/// Makes round trips between two nodes of a group.
pub fn trips(size: usize, outstanding: u64) -> io::Result<Box<dyn Job>> {
    let mut group = Group::new()?;
    let pinger = group.add(config(), Pinger::new(size, outstanding))?;
    group.add(config(), Echo)?;
    group.connect_all(Topology::Line, PATIENCE)?;
    Ok(Box::new(Trips { group, pinger }))
}
