//! Long messages that arrive in small pieces.

use std::error::Error;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use peerloop::{Config, ConnId, Handler, Net, Node};

/// Length of a message, in bytes.
pub(crate) const MESSAGE: usize = 128 * 1024;

/// Payload of an Ethernet segment, in bytes.
const PIECE: usize = 1448;

struct Receiver {
    received: u64,
}

impl Handler for Receiver {
    fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
        self.received += u64::from(message.len() == MESSAGE);
    }
}

/// Sends messages piece by piece. The node reads each piece alone.
pub(crate) fn pieces(messages: u64) -> Result<(), Box<dyn Error>> {
    let mut node = Node::new(Config::default(), Receiver { received: 0 })?;
    let addr = node.net().listen("127.0.0.1:0")?.addr;
    let mut peer = TcpStream::connect(addr)?;
    let mut frame = (MESSAGE as u32).to_be_bytes().to_vec();
    frame.resize(4 + MESSAGE, b'x');
    for _ in 0..messages {
        for piece in frame.chunks(PIECE) {
            peer.write_all(piece)?;
            let _ = node.turn(Some(Duration::from_secs(10)))?;
        }
    }
    let received = |receiver: &mut Receiver, _: &mut Net| receiver.received == messages;
    let end = node.run_until(Duration::from_secs(10), received)?;
    if node.handler().received != messages {
        return Err(format!("{end:?}: not all messages have arrived").into());
    }
    Ok(())
}
