//! Connections as `Net` shows them.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::util::{Event, PATIENCE, Recorder, TestNode, frame, listening, raw};
use peerloop::{
    Config, ConnId, ConnMap, ConnectionState, Direction, DisconnectReason, Handler, Net, Node,
};

/// All views of the connections agree with each other and with the peers.
fn assert_consistent(node: &mut TestNode, peers: &[(ConnId, TcpStream)]) {
    let net = node.net();
    assert_eq!(net.connection_count(), peers.len());
    let mut listed: Vec<ConnId> = net.connections().map(|it| it.id()).collect();
    listed.sort();
    let mut expected: Vec<ConnId> = peers.iter().map(|(conn, _)| *conn).collect();
    expected.sort();
    assert_eq!(listed, expected);
    for (conn, peer) in peers {
        let (addr, local_addr) = (peer.local_addr().unwrap(), peer.peer_addr().unwrap());
        let view = net.connection(*conn).expect("it is open");
        let info = view.info();
        assert_eq!((info.addr, info.local_addr), (addr, Some(local_addr)));
        assert_eq!((view.id(), info.direction), (*conn, Direction::Inbound));
        assert_eq!(view.state(), ConnectionState::Connected);
        assert_eq!(view.queued_bytes(), 0);
        assert!(view.since() <= net.now());
        assert_eq!(net.find(addr), Some(*conn));
    }
}

#[test]
fn views_agree_while_connections_come_and_go() {
    let (mut node, addr) = listening(Config::default(), Recorder::default());
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(raw::join(&mut node, addr));
        assert_consistent(&mut node, &peers);
    }
    for index in [2, 0, 1, 1, 0] {
        let (conn, peer) = peers.remove(index);
        let addr = peer.local_addr().unwrap();
        drop(peer);
        raw::until_ended(&mut node, conn);
        assert!(node.net().connection(conn).is_none());
        assert_eq!(node.net().find(addr), None);
        assert_consistent(&mut node, &peers);
    }
}

#[test]
fn closing_connection_is_not_listed() {
    let (mut node, conn, peer) = raw::wire(Config::default(), Recorder::default());
    node.net().close(conn);
    assert_eq!(node.net().find(peer.local_addr().unwrap()), None);
    assert_eq!(node.net().connections().count(), 0);
    assert_eq!(node.net().connection_count(), 0);
    let state = node.net().connection(conn).map(|it| it.state());
    assert_eq!(state, Some(ConnectionState::Closing));
}

#[test]
fn on_disconnect_still_has_the_view() {
    let (sender, views) = mpsc::channel();
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Disconnect(conn, _) = event {
            let is_refused = net.send(*conn, b"too late").is_err();
            let addr = net.connection(*conn).map(|it| it.info().addr);
            let view = (addr, is_refused, net.connection_count());
            sender.send(view).expect("the test waits");
        }
    });
    let (mut node, conn, peer) = raw::wire(Config::default(), handler);
    let addr = peer.local_addr().unwrap();
    drop(peer);
    raw::until_ended(&mut node, conn);
    let views: Vec<_> = views.try_iter().collect();
    assert_eq!(views, [(Some(addr), true, 0)]);
}

/// Counts the messages of each connection.
#[derive(Default)]
struct Tally {
    messages: ConnMap<u32>,
    /// The counts of the connections that have ended.
    ended: Vec<u32>,
}

impl Handler for Tally {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        let left_behind = self.messages.insert(conn, 0);
        self.ended.extend(left_behind);
    }

    fn on_message(&mut self, _: &mut Net, conn: ConnId, _: &[u8]) {
        self.messages[conn] += 1;
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
        self.ended.extend(self.messages.remove(conn));
    }
}

fn run_until(node: &mut Node<Tally>, condition: impl Fn(&Tally) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition(node.handler()) {
        let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
        assert!(Instant::now() < end, "the condition did not come about");
    }
}

#[test]
fn conn_map_follows_reused_slots() {
    let mut node = Node::new(Config::default(), Tally::default()).unwrap();
    let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
    for round in 1..=3 {
        let peers = [1, 2, 3].map(|count| {
            let mut peer = raw::connect(addr);
            peer.write_all(&frame(b"x").repeat(count)).unwrap();
            peer
        });
        run_until(&mut node, |it| it.messages.values().sum::<u32>() == 6);
        let tally = &node.handler().messages;
        assert_eq!((tally.len(), tally.keys().count()), (3, 3));
        drop(peers);
        run_until(&mut node, |it| it.messages.is_empty());
        let mut ended = node.handler().ended.clone();
        ended.sort();
        assert_eq!(ended, [1, 2, 3].map(|count| [count].repeat(round)).concat());
    }
}
