//! Round trips of one message between two nodes, each in its own thread.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::{Config, ConnId, Handler, Net, Node, TimerId};

use super::PATIENCE;

/// Answers each message with itself while `left` is not zero. The one that
/// connects begins, and stops when nothing is left.
struct Player {
    left: u64,
    to: Option<SocketAddr>,
}

impl Handler for Player {
    fn on_start(&mut self, net: &mut Net) {
        if let Some(to) = self.to {
            net.connect(to).expect("no limit is reached");
            net.set_timer(PATIENCE, 0);
        }
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        if self.to.is_some() {
            net.send(conn, &[b'x'; 64]).expect("the queue is empty");
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.left -= 1;
        if self.left > 0 {
            net.send(conn, message).expect("the queue is empty");
        } else {
            net.shutdown(Duration::ZERO);
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        net.shutdown(Duration::ZERO);
    }
}

/// Makes `trips` round trips of two hops each. Both nodes run with `Node::run`,
/// because `Node::run_until` reads the clock for its condition.
pub(crate) fn trip(trips: u64) -> Result<(), Box<dyn Error>> {
    let player = |left, to| Player { left, to };
    let mut server = Node::new(Config::default(), player(u64::MAX, None))?;
    let addr = server.net().listen("127.0.0.1:0")?.addr;
    let server = server.spawn()?;
    let mut client = Node::new(Config::default(), player(trips, Some(addr)))?;
    client.run()?;
    drop(server);
    match client.handler().left {
        0 => Ok(()),
        left => Err(format!("{left} trips are left").into()),
    }
}
