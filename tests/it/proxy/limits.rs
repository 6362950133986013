//! The ban list and the limits apply to the true addresses.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use super::{addr, behind, connect, join, listen, service, trusting};
use crate::util::proxy_header::{binary, line, local};
use crate::util::{PATIENCE, Recorder, config_with, run_until, strict};
use peerloop::{Admission, Config, ConnId, ConnInfo, Handler, Net, Node, RunEnd};

/// Refuses one address, and records the addresses of `on_accept`.
struct Guarded {
    banned: IpAddr,
    asked: Vec<SocketAddr>,
    connected: Vec<SocketAddr>,
}

impl Handler for Guarded {
    fn on_accept(&mut self, _: &mut Net, info: &ConnInfo) -> Admission {
        self.asked.push(info.addr);
        if info.addr.ip() == self.banned {
            Admission::Refuse
        } else {
            Admission::Admit
        }
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let connection = net.connection(conn).expect("it is open");
        self.connected.push(connection.info().addr);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

#[test]
fn ban_list_gets_the_true_address() {
    let guarded = Guarded {
        banned: addr("203.0.113.9:0").ip(),
        asked: Vec::new(),
        connected: Vec::new(),
    };
    let mut node = Node::new(strict(), guarded).unwrap();
    let here = listen(node.net(), trusting("127.0.0.0/8"));
    let banned = addr("203.0.113.9:1000");
    let clients = [banned, addr("203.0.113.8:1000"), addr("[2001:db8::9]:5")];
    let mut peers = Vec::new();
    for client in clients {
        let service = match client {
            SocketAddr::V4(_) => service(),
            SocketAddr::V6(_) => addr("[2001:db8::1]:443"),
        };
        peers.push(connect(here, &line(client, service)));
        let known = peers.len();
        let end = node.run_until(PATIENCE, |guarded, _| guarded.asked.len() == known);
        assert_eq!(end.unwrap(), RunEnd::Done);
    }
    assert_eq!(node.handler().asked, clients);
    assert_eq!(node.handler().connected, clients[1..]);
    assert_eq!(node.net().metrics().refused_by_handler, 1);
}

#[test]
fn limit_per_address_counts_clients() {
    let config = config_with(|config| config.limits.max_connections_per_address = 2);
    let (mut node, here) = behind(config, Recorder::default());
    let client = |host: u8, port: u16| SocketAddr::from(([203, 0, 113, host], port));
    let mut peers: Vec<TcpStream> = Vec::new();
    for port in 1..=5 {
        let header = binary(client(9, port), service(), 0);
        peers.push(connect(here, &header));
    }
    run_until([&mut node], |[node]| {
        node.net().metrics().refused_by_address == 3
    });
    // More clients than the limit, all behind one proxy.
    for host in 10..20 {
        let header = binary(client(host, 1), service(), 0);
        peers.push(join(&mut node, here, &header).1);
    }
    assert_eq!(node.net().connection_count(), 12);
    // The proxy's own connections count for its own address.
    for _ in 0..3 {
        peers.push(connect(here, &local()));
    }
    run_until([&mut node], |[node]| {
        node.net().metrics().refused_by_address == 4
    });
    assert_eq!(node.net().connection_count(), 14);
}

#[test]
fn many_clients_of_one_proxy_are_admitted() {
    let (mut node, here) = behind(Config::default(), Recorder::default());
    let limit = Config::default().limits.max_connections_per_address;
    let peers: Vec<TcpStream> = (0..limit as u16 + 50)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let client = SocketAddr::from(([203, 1, high, low], 9));
            connect(here, &binary(client, service(), 0))
        })
        .collect();
    run_until([&mut node], |[node]| {
        node.net().connection_count() == peers.len()
    });
    assert_eq!(node.net().metrics().refused_by_address, 0);
}

#[test]
fn place_is_free_when_the_header_ends() {
    let config = config_with(|config| {
        config.limits.max_inbound_handshakes = 1;
        config.connection.timeouts.handshake = None;
    });
    let (mut node, here) = behind(config, Recorder::default());
    for round in 1..=10_u16 {
        let client = SocketAddr::from(([203, 0, 113, 9], round));
        // One that is cut, and one that is complete.
        drop(connect(here, b"PROXY"));
        run_until([&mut node], |[node]| {
            node.net().metrics().proxy_header_errors == u64::from(round)
        });
        let (conn, _peer) = join(&mut node, here, &line(client, service()));
        node.net().abort(conn);
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(node.net().metrics().refused_by_handshakes, 0);
}
