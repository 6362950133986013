//! Handshake places. Peers that send nothing do not keep others out.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::util::raw::settle;
use crate::util::sockets::connect_from;
use crate::util::steps::TwoSteps;
use crate::util::{Event, Recorder, TestNode, config_with, listening, run_until};
use peerloop::ConnectError;
use peerloop::config::ListenerLimits;

/// Returns a node with this number of places, whose first listener has sessions of
/// two steps. Other listeners have none.
fn with_places(max: usize) -> (TestNode, SocketAddr) {
    let config = config_with(|config| config.limits.max_inbound_handshakes = max);
    let (mut node, addr) = listening(config, Recorder::echo());
    let first = node.net().listeners().next().map(|listening| listening.id);
    node.handler_mut().sessions = Box::new(move |net, conn| {
        let listener = net.connection(conn).expect("it is new").listener();
        Ok((listener == first).then(|| Box::new(TwoSteps::default()) as _))
    });
    (node, addr)
}

/// Returns the errors of the connections that failed, in order.
fn failures(node: &TestNode) -> Vec<ConnectError> {
    let error = |event: &Event| match event {
        Event::ConnectFailed(_, error) => Some(*error),
        _ => None,
    };
    node.handler().events.iter().filter_map(error).collect()
}

/// Returns a peer from this address whose handshake has begun, after it has sent
/// these bytes.
fn begun(node: &mut TestNode, host: u8, addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut peer = connect_from([127, 0, 0, host], addr);
    let accepted = node.net().metrics().accepted;
    run_until([node], |[node]| node.net().metrics().accepted > accepted);
    peer.write_all(bytes).expect("it is connected");
    settle(node);
    peer
}

/// Returns whether a peer completes its handshake and has its message answered.
fn is_served(node: &mut TestNode, peer: &mut TcpStream) -> bool {
    peer.set_nonblocking(true).expect("a socket");
    let mut answered = 0;
    for (sent, expected) in [(&[1][..], 1), (&[2], 2), (b"\0\0\0\x01x", 7)] {
        if peer.write_all(sent).is_err() {
            return false;
        }
        let mut is_closed = false;
        run_until([node], |_| {
            match peer.read(&mut [0; 16]) {
                Ok(0) => is_closed = true,
                Ok(count) => answered += count,
                Err(error) => is_closed = error.kind() != ErrorKind::WouldBlock,
            }
            answered == expected || is_closed
        });
        if is_closed {
            return false;
        }
    }
    true
}

#[test]
fn new_address_takes_a_place_of_the_largest() {
    // Nothing, one byte that is no step, a valid first step.
    for sent in [&b""[..], &[0], &[1]] {
        let (mut node, addr) = with_places(4);
        let mut attackers: Vec<TcpStream> =
            (0..4).map(|_| begun(&mut node, 2, addr, sent)).collect();
        for honest in 1..=3 {
            let mut peer = connect_from([127, 0, 0, 77], addr);
            assert!(is_served(&mut node, &mut peer), "{sent:?}");
            assert_eq!(node.net().metrics().handshakes_evicted, honest);
            // The attacker connects again.
            attackers.push(begun(&mut node, 2, addr, sent));
        }
        assert_eq!(failures(&node), [ConnectError::Evicted; 3]);
        assert!(failures(&node).iter().all(|error| !error.is_peers_fault()));
        assert_eq!(node.net().metrics().handshake_timeouts, 0);
    }
}

#[test]
fn address_with_most_places_gets_no_more() {
    let (mut node, addr) = with_places(4);
    let mut honest = begun(&mut node, 77, addr, &[1]);
    let _attackers: Vec<_> = (0..23).map(|_| begun(&mut node, 2, addr, b"")).collect();
    assert_eq!(failures(&node), [ConnectError::TooManyConnecting; 20]);
    assert_eq!(node.net().metrics().refused_by_handshakes, 20);
    honest.write_all(&[2]).unwrap();
    run_until([&mut node], |[node]| node.net().connection_count() == 1);
}

#[test]
fn handshake_with_progress_is_not_evicted() {
    let (mut node, addr) = with_places(3);
    let [mut first, _second, _third] = [(); 3].map(|()| begun(&mut node, 2, addr, b""));
    first.write_all(&[1]).unwrap();
    first.set_nonblocking(true).unwrap();
    run_until([&mut node], |_| first.read(&mut [0]).is_ok());
    let mut other = connect_from([127, 0, 0, 3], addr);
    assert!(is_served(&mut node, &mut other));
    first.write_all(&[2]).unwrap();
    run_until([&mut node], |[node]| node.net().connection_count() == 2);
}

#[test]
fn plain_connection_needs_no_place() {
    let (mut node, addr) = with_places(2);
    let _silent = [(); 2].map(|()| begun(&mut node, 2, addr, b""));
    let plain = node.net().listen("127.0.0.1:0").unwrap().addr;
    let mut peer = connect_from([127, 0, 0, 2], plain);
    peer.write_all(b"\0\0\0\x01x").unwrap();
    run_until([&mut node], |[node]| {
        node.net().traffic().messages_sent == 1
    });
    assert_eq!(node.net().metrics().handshakes_evicted, 0);
}

#[test]
fn limit_of_a_listener_leaves_places_to_another() {
    let (mut node, addr) = with_places(3);
    node.handler_mut().sessions = Box::new(|_, _| Ok(Some(Box::new(TwoSteps::default()))));
    let mut options = node.listen_options();
    options.limits = ListenerLimits {
        max_handshakes: Some(2),
        ..ListenerLimits::default()
    };
    let limited = node.net().listen_with("127.0.0.1:0", options).unwrap().addr;
    let _silent = [(); 2].map(|()| begun(&mut node, 2, limited, b""));
    let _other = begun(&mut node, 3, limited, b"");
    assert_eq!(node.net().metrics().handshakes_evicted, 1);
    let _refused = begun(&mut node, 3, limited, b"");
    assert_eq!(node.net().metrics().refused_by_handshakes, 1);
    let mut peer = connect_from([127, 0, 0, 3], addr);
    assert!(is_served(&mut node, &mut peer));
    assert_eq!(node.net().metrics().handshakes_evicted, 1);
}
