//! IPv4 connections of a dual-stack listener.

use std::error::Error;
use std::io::Read;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::util::{PATIENCE, raw};
use peerloop::{Admission, Config, ConnId, ConnInfo, Handler, Net, Node, RunEnd, Transport};

/// Keeps the `ConnInfo` that each callback had, and refuses banned addresses.
#[derive(Default)]
struct Infos {
    banned: Vec<std::net::IpAddr>,
    accepted: Vec<ConnInfo>,
    transports: Vec<(ConnId, ConnInfo)>,
}

impl Handler for Infos {
    fn on_accept(&mut self, _: &mut Net, info: &ConnInfo) -> Admission {
        self.accepted.push(*info);
        match self.banned.contains(&info.addr.ip()) {
            true => Admission::Refuse,
            false => Admission::Admit,
        }
    }

    fn transport(
        &mut self,
        _: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        self.transports.push((conn, *info));
        Ok(Transport::Plain)
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// A node that listens on `[::]`, after it has accepted one connection of
/// 127.0.0.1.
fn accepted(handler: Infos) -> (Node<Infos>, std::net::TcpStream) {
    let mut node = Node::new(Config::default(), handler).unwrap();
    let listening = node.net().listen("[::]:0").expect("IPv6 on this machine");
    let peer = raw::connect(SocketAddr::from(([127, 0, 0, 1], listening.addr.port())));
    let end = Instant::now() + PATIENCE;
    while node.handler().accepted.is_empty() {
        let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
        assert!(Instant::now() < end, "no connection was accepted");
    }
    (node, peer)
}

#[test]
fn ban_list_of_ipv4_holds_on_dual_stack() {
    let (mut node, mut peer) = accepted(Infos {
        banned: vec![[127, 0, 0, 1].into()],
        ..Infos::default()
    });
    assert!(matches!(peer.read(&mut [0]), Ok(0) | Err(_)), "refused");
    assert_eq!(node.handler().transports, []);
    assert_eq!(node.net().metrics().refused_by_handler, 1);
}

#[test]
fn callbacks_and_views_agree() {
    let (mut node, peer) = accepted(Infos::default());
    let (conn, info) = node.handler().transports[0];
    assert_eq!(info.addr, peer.local_addr().unwrap());
    assert_eq!(info.local_addr, Some(peer.peer_addr().unwrap()));
    assert_eq!(node.handler().accepted, [info]);
    assert_eq!(node.net().connection(conn).unwrap().info(), info);
    assert_eq!(node.net().find(info.addr), Some(conn));
}

/// The local address of a listener of one address is not asked for. `0.0.0.0`
/// in IPv6 form is not one address.
#[test]
fn local_address_is_the_one_connected_to() {
    let any = ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0"];
    let one = ["127.0.0.1:0", "[::ffff:127.0.0.1]:0"];
    for bound in any.into_iter().chain(one) {
        let mut node = Node::new(Config::default(), Infos::default()).unwrap();
        let port = node.net().listen(bound).unwrap().addr.port();
        let ip = if any.contains(&bound) {
            [127, 0, 0, 5]
        } else {
            [127, 0, 0, 1]
        };
        let peer = raw::connect(SocketAddr::from((ip, port)));
        let run = node.run_until(PATIENCE, |it, _| !it.transports.is_empty());
        assert_eq!(run.unwrap(), RunEnd::Done);
        let (_, info) = node.handler().transports[0];
        assert_eq!(info.local_addr, Some(peer.peer_addr().unwrap()), "{bound}");
    }
}
