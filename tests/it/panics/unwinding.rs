//! `OnPanic::Unwind`.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use peerloop::config::OnPanic;
use peerloop::{Config, ConnId, SendOutcome};

use super::{ON_PURPOSE, Selects, Trigger, config, is_closed, panic_quietly, panicking};
use crate::util::raw::{connect, join};
use crate::util::{Event, TestNode, frame, run_until};

type Provoke = fn(&mut TestNode, ConnId, &mut TcpStream);

#[test]
fn panic_leaves_the_turn_with_its_payload() {
    let cases: [(Selects, Provoke); 4] = [
        (
            |event| matches!(event, Event::Message(..)),
            |_, _, peer| peer.write_all(&frame(b"x")).unwrap(),
        ),
        (
            |event| matches!(event, Event::Timer(..)),
            |node, _, _| {
                let _ = node.net().set_timer(Duration::ZERO, 0);
            },
        ),
        (
            |event| matches!(event, Event::Disconnect(..)),
            |node, conn, _| node.net().abort(conn),
        ),
        (
            |event| matches!(event, Event::ConnectFailed(..)),
            |node, _, _| {
                let conn = node.net().connect(SocketAddr::from(([127, 0, 0, 1], 1)));
                node.net().close(conn.unwrap());
            },
        ),
    ];
    for (case, (selects, provoke)) in cases.into_iter().enumerate() {
        let config = Config {
            on_panic: OnPanic::Unwind,
            ..config()
        };
        let (mut node, addr, trigger) = panicking(config);
        let (conn, mut peer) = join(&mut node, addr);
        trigger.arm(selects);
        provoke(&mut node, conn, &mut peer);
        let run = || run_until([&mut node], |_| false);
        let payload = panic::catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&ON_PURPOSE), "case {case}");
        drop(node);
        assert!(is_closed(&mut peer));
    }
}

/// A node that panics in the callback that its trigger selects, and two peers.
fn node_with_peers() -> (TestNode, SocketAddr, Trigger, [ConnId; 2], [TcpStream; 2]) {
    let config = Config {
        on_panic: OnPanic::Unwind,
        ..config()
    };
    let (mut node, addr, trigger) = panicking(config);
    let [(first, a), (second, b)] = [join(&mut node, addr), join(&mut node, addr)];
    (node, addr, trigger, [first, second], [a, b])
}

/// Runs the node until it panics.
fn run_to_panic(node: &mut TestNode) {
    let run = || run_until([node], |_| false);
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_err();
}

#[test]
fn panic_in_accept_loses_no_other_peer() {
    let (mut node, addr, trigger, _, _peers) = node_with_peers();
    trigger.arm(|event| matches!(event, Event::Connect(_)));
    let _both = [connect(addr), connect(addr)];
    run_to_panic(&mut node);
    // No event follows for the one that was not accepted yet.
    run_until([&mut node], |[node]| node.handler().connected().len() == 4);
}

#[test]
fn panic_in_an_end_loses_no_other_end() {
    let (mut node, _, trigger, [first, second], _peers) = node_with_peers();
    trigger.arm(|event| matches!(event, Event::Disconnect(..)));
    node.net().abort(first);
    node.net().abort(second);
    run_to_panic(&mut node);
    run_until([&mut node], |[node]| node.handler().ended(second).is_some());
}

#[test]
fn panic_in_on_sent_loses_no_other_outcome() {
    let (mut node, _, trigger, [first, second], _peers) = node_with_peers();
    trigger.arm(|event| matches!(event, Event::Sent(..)));
    node.net().send_tracked(first, b"x", 1).unwrap();
    node.net().send_tracked(second, b"x", 2).unwrap();
    run_to_panic(&mut node);
    let is_sent = |event: &Event| matches!(event, Event::Sent(_, 2, SendOutcome::HandedOver));
    run_until([&mut node], |[node]| {
        node.handler().events.iter().any(is_sent)
    });
}

#[test]
fn panic_in_a_posted_call_loses_no_other_call() {
    let (mut node, ..) = node_with_peers();
    let handle = node.handle();
    handle.post(|_, _| panic_quietly()).unwrap();
    handle
        .post(|_, net| {
            net.set_timer(Duration::ZERO, 7);
        })
        .unwrap();
    run_to_panic(&mut node);
    let is_set = |event: &Event| matches!(event, Event::Timer(_, 7));
    run_until([&mut node], |[node]| {
        node.handler().events.iter().any(is_set)
    });
}
