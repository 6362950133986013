//! The ends of connections, as handlers have them reported.

use peerloop::{ConnId, ConnectError, DisconnectReason};

use super::{Event, TestNode, run_until};

/// The reasons of an end that `close` of the first node began.
pub const CLOSED: [DisconnectReason; 2] = [DisconnectReason::Local, DisconnectReason::PeerClosed];

/// Runs two nodes until the connection between them has ended on both. Returns the
/// reason of each.
#[track_caller]
pub fn until_both_ended(
    a: &mut TestNode,
    to_b: ConnId,
    b: &mut TestNode,
    to_a: ConnId,
) -> [DisconnectReason; 2] {
    run_until([a, b], |[a, b]| {
        a.handler().ended(to_b).is_some() && b.handler().ended(to_a).is_some()
    });
    [(&*a, to_b), (&*b, to_a)].map(|(node, conn)| node.handler().ended(conn).expect("an end"))
}

/// Returns the errors of the connections that failed, in order. Each connection fails
/// once.
#[track_caller]
pub fn failures(node: &TestNode) -> Vec<ConnectError> {
    let mut failed = Vec::new();
    let failure = |event: &Event| match *event {
        Event::ConnectFailed(conn, error) => {
            assert!(!failed.contains(&conn), "{conn} failed twice");
            failed.push(conn);
            Some(error)
        }
        _ => None,
    };
    node.handler().events.iter().filter_map(failure).collect()
}

/// Asserts that these are the errors of all connections that a node ever had, that
/// no other callback was called, and that no connection is left.
#[track_caller]
pub fn assert_only_failures(node: &mut TestNode, errors: &[ConnectError]) {
    assert_eq!(failures(node), errors);
    let events = &node.handler().events;
    assert_eq!(events[0], Event::Start);
    assert_eq!(events.len(), 1 + errors.len(), "{events:?}");
    assert_eq!(node.net().connecting_count(), 0);
    assert_eq!(node.net().connection_count(), 0);
    assert_eq!(node.net().metrics().disconnected, 0);
}
