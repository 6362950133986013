//! The lists of work keep their memory, so that a turn allocates none.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::config::Config;
use crate::handler::{Handler, SendOutcome};
use crate::id::ConnId;
use crate::net::Net;
use crate::node::{Node, RunEnd};

#[derive(Default)]
struct Echo {
    conns: Vec<ConnId>,
    sent: usize,
}

impl Handler for Echo {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.conns.push(conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        net.send_tracked(conn, message, 0).unwrap();
    }

    fn on_sent(&mut self, _: &mut Net, _: ConnId, _: u64, _: SendOutcome) {
        self.sent += 1;
    }
}

/// Accepts, echoes, connects and ends connections.
#[test]
fn lists_keep_their_memory() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let mut node = Node::new(Config::default(), Echo::default()).unwrap();
    let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
    let mut peer = TcpStream::connect(addr).unwrap();
    peer.write_all(b"\0\0\0\x01x").unwrap();
    let run = node.run_until(PATIENCE, |it, _| it.sent == 1);
    assert_eq!(run.unwrap(), RunEnd::Done);
    let conn = node.handler().conns[0];
    let connect = node.net().connect(SocketAddr::from(([127, 0, 0, 1], 1)));
    node.net().close(connect.unwrap());
    node.net().abort(conn);
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    let work = &node.net().work;
    assert!(work.is_empty());
    let capacities = [
        work.listeners.capacity(),
        work.connects.capacity(),
        work.ended.capacity(),
    ];
    assert!(!capacities.contains(&0), "{capacities:?}");
}
