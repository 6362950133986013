//! An echo server on peerloop, whose size and build time are compared.

use peerloop::{Config, ConnId, Handler, Net, Node};

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let _ = net.send(conn, message);
    }
}

fn main() -> std::io::Result<()> {
    let mut node = Node::new(Config::default(), Echo)?;
    println!("{}", node.net().listen("127.0.0.1:0")?);
    node.run()
}
