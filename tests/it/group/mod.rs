//! Nodes that share one poll on one thread.

#![cfg(target_pointer_width = "64")]

mod connect_all;
mod members;
mod turns;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::util::{Event, PATIENCE, Recorder, strict};
use peerloop::config::{ConnectionConfig, Limits};
use peerloop::group::{AnyMemberId, Group, MemberId};
use peerloop::topology::{Topology, TopologyError};
use peerloop::{Config, ConnId, DisconnectReason, Handle, Handler, Net, RunEnd, TimerId, Turn};

/// Runs the group until the condition holds.
#[track_caller]
fn run_until(group: &mut Group, mut condition: impl FnMut(&Group) -> bool) {
    let end = group.run_until(PATIENCE, |group| condition(group));
    assert_eq!(
        end.expect("a turn"),
        RunEnd::Done,
        "the condition did not become true"
    );
}

fn listen(group: &mut Group, member: impl Into<AnyMemberId>) -> SocketAddr {
    let net = group.net(member).expect("a member");
    net.listen("127.0.0.1:0").expect("a listener").addr
}

fn connect(group: &mut Group, from: impl Into<AnyMemberId>, to: SocketAddr) -> ConnId {
    let net = group.net(from).expect("a member");
    net.connect(to).expect("an attempt")
}

/// Sends a greeting on each connection, and counts the greetings received.
#[derive(Default)]
struct Greeter {
    connected: usize,
    received: usize,
}

impl Handler for Greeter {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.connected += 1;
        net.send(conn, b"hello").expect("a new connection has room");
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
        assert_eq!(message, b"hello");
        self.received += 1;
    }
}

/// Sends each message on to the other neighbour, if there is one.
#[derive(Default)]
struct Relay {
    neighbours: Vec<ConnId>,
    received: usize,
}

impl Handler for Relay {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.neighbours.push(conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.received += 1;
        let onward = self.neighbours.iter().find(|other| **other != conn);
        if let Some(next) = onward {
            net.send(*next, message).expect("an empty queue has room");
        }
    }
}

struct Log(Vec<usize>);

impl Handler for Log {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}
