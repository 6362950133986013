//! Connects whose connection is reset as soon as it is established.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node, RunEnd,
};

use crate::util::raw::reset;
use crate::util::{PATIENCE, unlimited_time};

/// Resets all other connections in the first `on_connect`.
#[derive(Default)]
struct Resetter {
    /// The other ends.
    peers: Vec<TcpStream>,
    connected: Vec<ConnId>,
    /// The connections that were reset.
    broken: Vec<ConnId>,
}

impl Handler for Resetter {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.connected.push(conn);
        if self.connected.len() > 1 {
            return;
        }
        let own = net.connection(conn).and_then(|it| it.info().local_addr);
        let peers = std::mem::take(&mut self.peers).into_iter();
        let (kept, others): (Vec<_>, Vec<_>) = peers.partition(|peer| peer.peer_addr().ok() == own);
        self.peers = kept;
        others.into_iter().for_each(reset);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_connect_failed(&mut self, _: &mut Net, conn: ConnId, _: &ConnInfo, error: ConnectError) {
        let is_reset =
            matches!(error, ConnectError::Io(it) if it.kind == ErrorKind::ConnectionReset);
        assert!(is_reset, "{error:?}");
        self.broken.push(conn);
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, reason: DisconnectReason) {
        assert_eq!(reason, DisconnectReason::Reset);
        self.broken.push(conn);
    }
}

/// The events of both connects are taken together, and the second connection
/// breaks before its event is handled.
#[test]
fn reset_after_the_event_is_reported_with_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let config = Config {
        budget: unlimited_time(),
        allow_duplicates: true,
        ..Config::default()
    };
    let mut node = Node::new(config, Resetter::default()).unwrap();
    let conns = [(); 2].map(|()| node.net().connect(addr).unwrap());
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    let peers = [(); 2].map(|()| listener.accept().unwrap().0);
    node.handler_mut().peers.extend(peers);
    let run = node.run_until(PATIENCE, |it, _| !it.broken.is_empty());
    assert_eq!(run.unwrap(), RunEnd::Done);
    let (connected, broken) = (&node.handler().connected, &node.handler().broken);
    assert_eq!(broken.len(), 1);
    assert_ne!(broken[0], connected[0]);
    assert!(conns.contains(&broken[0]));
}
