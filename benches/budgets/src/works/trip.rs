//! Round trips of one message between two nodes, each in its own thread.

use std::error::Error;

use peerloop::{Config, ConnId, Handler, Net, Node};

use super::PATIENCE;

/// Answers each message with itself while `left` is not zero.
struct Player {
    left: u64,
}

impl Handler for Player {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.left -= 1;
        if self.left > 0 {
            net.send(conn, message).expect("the queue is empty");
        }
    }
}

/// Makes `trips` round trips of two hops each.
pub(crate) fn trip(trips: u64) -> Result<(), Box<dyn Error>> {
    let mut server = Node::new(Config::default(), Player { left: u64::MAX })?;
    let addr = server.net().listen("127.0.0.1:0")?.addr;
    let server = server.spawn()?;
    let mut client = Node::new(Config::default(), Player { left: trips })?;
    let conn = client.net().connect(addr)?;
    let mut has_begun = false;
    let end = client.run_until(PATIENCE, |client, net| {
        if !has_begun {
            has_begun = net.send(conn, [b'x'; 64].as_slice()).is_ok();
        }
        client.left == 0
    })?;
    drop(server);
    if client.handler().left > 0 {
        return Err(format!("{end:?}: {} trips are left", client.handler().left).into());
    }
    Ok(())
}
