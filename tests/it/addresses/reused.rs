//! An address that connects again while the node handles its former connection.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use peerloop::{Config, DisconnectReason};
use socket2::{Domain, Socket, Type};

use crate::util::raw::{accepted, feed, reset, until_ended};
use crate::util::{PATIENCE, Recorder, frame, listening};

/// Connects from this address, or from any.
fn connect_from(source: Option<SocketAddr>, addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&source.unwrap_or(any).into()).unwrap();
    socket.connect(&addr.into()).expect("the node listens");
    socket.into()
}

#[test]
fn address_connects_again_during_its_reset() {
    let mut config = Config::default();
    config.limits.max_connections_per_address = 2;
    let (mut node, addr) = listening(config, Recorder::echo());
    let mut peer = connect_from(None, addr);
    let source = peer.local_addr().unwrap();
    let mut former = accepted(&mut node);
    for round in 0..5 {
        reset(peer);
        // The reset and the next connection arrive in the same turn.
        peer = connect_from(Some(source), addr);
        let conn = accepted(&mut node);
        assert_eq!(until_ended(&mut node, former), DisconnectReason::Reset);
        assert_eq!(node.net().connection(conn).unwrap().info().addr, source);
        assert_eq!(node.net().find(source), Some(conn));
        let body = [round];
        feed(&mut node, &mut peer, &frame(&body));
        let mut answer = [0; 5];
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..], frame(&body));
        assert_eq!(node.net().connection_count(), 1);
        former = conn;
    }
    let metrics = node.net().metrics();
    assert_eq!((metrics.accepted, metrics.refused_by_address), (6, 0));
}
