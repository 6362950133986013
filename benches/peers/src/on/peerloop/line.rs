//! A line of nodes in one group.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use peerloop::config::CommandQueueConfig;
use peerloop::group::{Group, MemberId};
use peerloop::topology::Topology;
use peerloop::{Config, ConnId, Handler, Net};

use super::run_until;
use crate::baton::Baton;
use crate::support::nodes::config;
use crate::support::{Job, PATIENCE, failed};

/// Passes the baton on.
struct Runner {
    neighbours: Vec<ConnId>,
    last: Sender<io::Result<Baton>>,
}

impl Runner {
    fn pass(&self, net: &mut Net, from: ConnId, message: &[u8]) -> io::Result<()> {
        let baton = Baton::receive(message)?;
        let other = self.neighbours.iter().find(|conn| **conn != from);
        match baton.pass(from, other.copied()) {
            Some((to, baton)) => send(net, to, baton),
            None => self.last.send(Ok(baton)).map_err(io::Error::other),
        }
    }
}

fn send(net: &mut Net, to: ConnId, baton: Baton) -> io::Result<()> {
    net.send(to, &baton.encode()).map_err(io::Error::other)
}

impl Handler for Runner {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.neighbours.push(conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if let Err(error) = self.pass(net, conn, message) {
            let _ = self.last.send(Err(error));
        }
    }
}

struct Line {
    group: Group,
    nodes: usize,
    first: MemberId<Runner>,
    second: ConnId,
    last: Receiver<io::Result<Baton>>,
}

impl Job for Line {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        let (to, baton) = (self.second, Baton::begin(amount));
        let sent = self.group.with(self.first, |_, net| send(net, to, baton));
        sent.unwrap_or_else(|| Err(failed("no first node")))?;
        let mut last = None;
        run_until(&mut self.group, |_| {
            last = self.last.try_recv().ok();
            last.is_some()
        })?;
        let baton = last.unwrap_or_else(|| Err(failed("no baton")))?;
        baton.check(self.nodes, amount)
    }
}

/// Makes `amount` traversals of a line of nodes.
pub fn line(nodes: usize) -> io::Result<Box<dyn Job>> {
    let config = Config {
        commands: CommandQueueConfig {
            // No other thread sends commands, and the queue is allocated at
            // once.
            max_commands: 16,
            ..config().commands
        },
        ..config()
    };
    let (sender, last) = channel();
    let mut group = Group::new()?;
    let mut members = Vec::with_capacity(nodes);
    for _ in 0..nodes {
        let runner = Runner {
            neighbours: Vec::new(),
            last: sender.clone(),
        };
        members.push(group.add(config.clone(), runner)?);
    }
    let conns = group.connect_all(Topology::Line, PATIENCE)?;
    Ok(Box::new(Line {
        group,
        nodes,
        first: members[0],
        second: conns[0],
        last,
    }))
}
