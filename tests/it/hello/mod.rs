//! The hello handshake and the peers.

mod bytes;
mod nodes;
mod peers;
mod refusals;
mod shards;

use std::io::Write;
use std::net::TcpStream;

use peerloop::ConnId;
use peerloop::hello::{Hello, Peers, TieBreak};

use crate::util::sessions::with_sessions;
use crate::util::{Event, Recorder, TestNode, listening, run_until};

const MAGIC: [u8; 4] = *b"test";
const NETWORK: u64 = 9;

/// The hello of a node with this id.
fn hello(id: u8) -> Hello {
    Hello {
        network: NETWORK,
        version: 3,
        min_version: 2,
        blob: vec![id; usize::from(id)],
        max_blob_len: 40,
        ..Hello::new(MAGIC, [id; 32], 1000 + u64::from(id))
    }
}

/// The bytes of a hello, written here for a second time.
#[derive(Clone)]
struct RawHello {
    magic: [u8; 4],
    format: u8,
    network: u64,
    version: u16,
    id: [u8; 32],
    nonce: u64,
    number: u64,
    blob_len: u16,
    blob: Vec<u8>,
}

impl RawHello {
    fn new(id: u8) -> Self {
        Self {
            magic: MAGIC,
            format: 1,
            network: NETWORK,
            version: 3,
            id: [id; 32],
            nonce: 1000 + u64::from(id),
            number: 0,
            blob_len: id.into(),
            blob: vec![id; usize::from(id)],
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.push(self.format);
        bytes.extend(self.network.to_be_bytes());
        bytes.extend(self.version.to_be_bytes());
        bytes.extend(self.id);
        bytes.extend(self.nonce.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.blob_len.to_be_bytes());
        bytes.extend(&self.blob);
        bytes
    }

    /// The hello with an answer to the other end.
    fn answered(&self, answer: u8) -> Vec<u8> {
        [self.bytes(), vec![answer]].concat()
    }
}

/// A recorder whose connections begin with a hello.
fn greeter(hello: Hello) -> Recorder {
    with_sessions(Recorder::default(), move |_| hello.session())
}

/// A recorder that forwards its callbacks to `peers`, and the results.
fn member(peers: &Peers) -> Recorder {
    let (of_sessions, peers) = (peers.clone(), peers.clone());
    let recorder = Recorder::reacting(move |net, event| match event {
        Event::Connect(conn) => {
            let tie = peers.connected(net, *conn);
            let is_kept = matches!(tie, TieBreak::First | TieBreak::Won(_));
            assert_eq!(peers.node_of(*conn).is_some(), is_kept);
        }
        Event::Disconnect(conn, _) => {
            peers.disconnected(*conn);
        }
        _ => {}
    });
    with_sessions(recorder, move |_| of_sessions.session())
}

/// A raw peer whose hello and answer the node accepts.
fn accepted(node: &mut TestNode, peer: &mut TcpStream, hello: &RawHello) -> ConnId {
    let before = node.handler().connected().len();
    peer.write_all(&hello.answered(0)).expect("room");
    run_until([node], |[node]| node.handler().connected().len() > before);
    node.handler().connected()[before]
}
