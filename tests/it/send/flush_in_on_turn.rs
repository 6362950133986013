//! `Net::flush` in `on_turn`.

use std::time::Duration;

use peerloop::{Config, ConnId, Handler, Net, Node, RunEnd, Turn};

use crate::util::PATIENCE;
use crate::util::raw::connect;

/// Sends in every turn.
#[derive(Default)]
struct Broadcaster {
    conn: Option<ConnId>,
}

impl Handler for Broadcaster {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.conn = Some(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_turn(&mut self, net: &mut Net) {
        if let Some(conn) = self.conn {
            net.send(conn, b"state").expect("the queue has room");
            net.flush(conn);
        }
    }
}

#[test]
fn flush_in_on_turn_is_done_in_that_turn() {
    let mut node = Node::new(Config::default(), Broadcaster::default()).unwrap();
    let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
    let _peer = connect(addr);
    let connected = node.run_until(PATIENCE, |it, _| it.conn.is_some());
    assert_eq!(connected.unwrap(), RunEnd::Done);
    // Some turns handle the events of the new socket.
    let mut turns = (0..10).map(|_| node.turn(Some(Duration::ZERO)).unwrap());
    assert!(
        turns.any(|turn| turn == Turn::Waiting),
        "every turn has more work"
    );
}
