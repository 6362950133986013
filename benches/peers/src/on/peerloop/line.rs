//! A line of nodes in one group.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use peerloop::{Config, ConnId, Direction, Group, Handler, MemberId, Net, TimerId};

use super::config;
use crate::job::{Job, PATIENCE, Value, failed, in_time};
use crate::messages::Baton;

/// What all nodes of the line can say.
#[derive(Default)]
struct Board {
    connected: Cell<usize>,
    last: Cell<Option<Baton>>,
    failed: Cell<bool>,
}

/// Hands the baton on to the neighbour it did not come from, or back.
struct Runner {
    board: Rc<Board>,
    left: Option<ConnId>,
    right: Option<ConnId>,
}

impl Handler for Runner {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        match net.connection(conn).map(peerloop::Peer::direction) {
            Some(Direction::Outbound) => self.right = Some(conn),
            _ => self.left = Some(conn),
        }
        self.board.connected.set(self.board.connected.get() + 1);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let Some(baton) = Baton::receive(message) else {
            return self.board.failed.set(true);
        };
        let other = if self.left == Some(conn) {
            self.right
        } else {
            self.left
        };
        let (to, next) = match other {
            Some(other) => (other, Some(baton)),
            None => (conn, baton.turn_back()),
        };
        match next {
            Some(next) => self.pass(net, to, next),
            None => self.board.last.set(Some(baton)),
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, traversals: u64) {
        if let Some(right) = self.right {
            self.pass(net, right, Baton::begin(traversals));
        }
    }
}

impl Runner {
    fn pass(&self, net: &mut Net, to: ConnId, baton: Baton) {
        if net.send(to, &baton.encode()).is_err() {
            self.board.failed.set(true);
        }
    }
}

struct Line {
    group: Group<Runner>,
    first: MemberId,
    nodes: usize,
    board: Rc<Board>,
}

impl Line {
    fn run_until(&mut self, over: impl Fn(&Board) -> bool) -> io::Result<()> {
        let begun = Instant::now();
        while !over(&self.board) {
            let _ = self.group.turn(Some(PATIENCE))?;
            in_time(begun, "the baton")?;
            if self.board.failed.get() {
                return Err(failed("the baton was lost"));
            }
        }
        Ok(())
    }
}

impl Job for Line {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        if let Some(net) = self.group.net(self.first) {
            net.set_timer(Duration::ZERO, amount);
        }
        self.run_until(|board| board.last.get().is_some())?;
        if let Some(baton) = self.board.last.take() {
            baton.check(self.nodes, amount)?;
        }
        Ok(Vec::new())
    }
}

/// `amount` traversals of a line of so many nodes.
pub fn line(nodes: usize) -> io::Result<Box<dyn Job>> {
    let board = Rc::new(Board::default());
    let mut group = Group::new()?;
    let config = Config {
        // No other thread asks for anything here, and the queue for that is allocated at once.
        command_queue: 16,
        ..config()
    };
    let mut before: Option<(MemberId, SocketAddr)> = None;
    for _ in 0..nodes {
        let runner = Runner {
            board: Rc::clone(&board),
            left: None,
            right: None,
        };
        // From the last to the first: each dials the one that was added before.
        let member = group.add(config.clone(), runner)?;
        let net = group.net(member).ok_or_else(|| failed("a member"))?;
        let addr = net.listen("127.0.0.1:0")?;
        if let Some((_, next)) = before {
            net.connect(next).map_err(io::Error::other)?;
        }
        before = Some((member, addr));
    }
    let (first, _) = before.ok_or_else(|| failed("a line without nodes"))?;
    let mut line = Line {
        group,
        first,
        nodes,
        board,
    };
    line.run_until(|board| board.connected.get() == 2 * (nodes - 1))?;
    Ok(Box::new(line))
}
