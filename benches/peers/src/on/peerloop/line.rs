//! A line of nodes in one group.

use peerloop::config::CommandQueueConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use peerloop::group::{Group, MemberId};
use peerloop::{Config, ConnId, Direction, Handler, Net, TimerId};

use super::config;
use crate::job::{Job, PATIENCE, Value, failed, in_time};
use crate::messages::Baton;

/// The state that all nodes of the line share.
#[derive(Default)]
struct Board {
    connected: AtomicUsize,
    last: Mutex<Option<Baton>>,
    failed: AtomicBool,
}

impl Board {
    fn arrive(&self, baton: Baton) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(baton);
    }

    fn take(&self) -> Option<Baton> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}

/// Hands the baton on to the neighbour it did not come from, or back.
struct Runner {
    board: Arc<Board>,
    left: Option<ConnId>,
    right: Option<ConnId>,
}

impl Handler for Runner {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        match net.connection(conn).map(|c| c.info().direction) {
            Some(Direction::Outbound) => self.right = Some(conn),
            _ => self.left = Some(conn),
        }
        self.board.connected.fetch_add(1, Ordering::Relaxed);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let Some(baton) = Baton::receive(message) else {
            return self.board.fail();
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
            None => self.board.arrive(baton),
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
            self.board.fail();
        }
    }
}

struct Line {
    group: Group,
    first: MemberId<Runner>,
    nodes: usize,
    board: Arc<Board>,
}

impl Line {
    fn run_until(&mut self, mut over: impl FnMut(&Board) -> bool) -> io::Result<()> {
        let begun = Instant::now();
        while !over(&self.board) {
            let _ = self.group.turn(Some(PATIENCE))?;
            in_time(begun, "the baton")?;
            if self.board.failed.load(Ordering::Relaxed) {
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
        let mut last = None;
        self.run_until(|board| {
            last = board.take();
            last.is_some()
        })?;
        if let Some(baton) = last {
            baton.check(self.nodes, amount)?;
        }
        Ok(Vec::new())
    }
}

/// `amount` traversals of a line of so many nodes.
pub fn line(nodes: usize) -> io::Result<Box<dyn Job>> {
    let board = Arc::new(Board::default());
    let mut group = Group::new()?;
    let config = Config {
        commands: CommandQueueConfig {
            // No other thread asks for anything here, and the queue for that is allocated at once.
            max_commands: 16,
            ..config().commands
        },
        ..config()
    };
    let mut before: Option<(MemberId<Runner>, SocketAddr)> = None;
    for _ in 0..nodes {
        let runner = Runner {
            board: Arc::clone(&board),
            left: None,
            right: None,
        };
        // From the last to the first: each connects to the one that was added before.
        let member = group.add(config.clone(), runner)?;
        let net = group.net(member).ok_or_else(|| failed("a member"))?;
        let addr = net.listen("127.0.0.1:0")?.addr;
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
    line.run_until(|board| board.connected.load(Ordering::Relaxed) == 2 * (nodes - 1))?;
    Ok(Box::new(line))
}
