//! `Requests` on real sockets.

use std::time::Duration;

use peerloop::requests::{
    BeginError, FailedRequest, RequestFailure, RequestLimits, RequestRefusal, Requests,
};
use peerloop::{
    Config, ConnId, DisconnectReason, Handler, Net, Node, RunEnd, RunningNode, TimerId,
};

use crate::util::{PATIENCE, Recorder, strict};

const MS: Duration = Duration::from_millis(1);

/// A message is an id. The context is a number of the test.
#[derive(Default)]
struct Asks {
    requests: Requests<u32>,
    connected: Vec<ConnId>,
    answers: Vec<Option<u32>>,
    failed: Vec<FailedRequest<u32>>,
    timers: usize,
}

impl Asks {
    fn begin(&mut self, net: &mut Net, conn: ConnId, context: u32) -> Result<u64, BeginError<u32>> {
        let id = self.requests.begin(net, conn, PATIENCE, context)?;
        net.send(conn, &id.to_be_bytes()).expect("there is room");
        Ok(id)
    }

    fn take_failed(&mut self) {
        while let Some(failed) = self.requests.next_failed() {
            self.failed.push(failed);
        }
    }
}

impl Handler for Asks {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.connected.push(conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, answer: &[u8]) {
        let id = answer.try_into().map(u64::from_be_bytes).expect("an id");
        self.answers.push(self.requests.answer(net, conn, id));
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
        self.requests.on_disconnect(net, conn);
        self.take_failed();
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, _: u64) {
        if self.requests.on_timer(net, timer) {
            self.take_failed();
        } else {
            self.timers += 1;
        }
    }
}

/// A node with connections to a server, which runs.
fn connected(
    count: usize,
    limits: RequestLimits,
    server: Recorder,
) -> (Node<Asks>, Vec<ConnId>, RunningNode<Recorder>) {
    let mut server = Node::new(strict(), server).expect("a node");
    let addr = server.net().listen("127.0.0.1:0").expect("a listener").addr;
    let server = server.spawn().expect("a thread");
    let asks = Asks {
        requests: Requests::new(limits),
        ..Default::default()
    };
    let config = Config {
        allow_duplicates: true,
        ..strict()
    };
    let mut node = Node::new(config, asks).expect("a node");
    let conns: Vec<ConnId> = (0..count)
        .map(|_| node.net().connect(addr).expect("a connect"))
        .collect();
    until(&mut node, |it| it.connected.len() == count);
    (node, conns, server)
}

#[track_caller]
fn until(node: &mut Node<Asks>, condition: impl Fn(&Asks) -> bool) {
    let end = node.run_until(PATIENCE, |asks, _| condition(asks));
    assert_eq!(end.expect("it runs"), RunEnd::Done);
}

#[test]
fn answers_find_their_requests() {
    let (mut node, conns, _server) = connected(3, RequestLimits::default(), Recorder::echo());
    for context in 0..300 {
        let conn = conns[context as usize % 3];
        node.with(|it, net| it.begin(net, conn, context))
            .expect("within the limits");
    }
    assert_eq!(node.handler().requests.len(), 300);
    until(&mut node, |it| it.answers.len() == 300);
    let mut answers: Vec<u32> = node.handler().answers.iter().flatten().copied().collect();
    answers.sort_unstable();
    assert_eq!(answers, (0..300).collect::<Vec<u32>>());
    assert!(node.handler().requests.is_empty());
}

#[test]
fn only_one_answer_of_the_asked_counts() {
    let (mut node, conns, _server) = connected(2, RequestLimits::default(), Recorder::default());
    node.with(|it, net| {
        let id = it.begin(net, conns[0], 7).expect("within the limits");
        let requests = &mut it.requests;
        assert_eq!(
            requests.answer(net, conns[1], id),
            None,
            "another connection"
        );
        assert_eq!(
            requests.answer(net, conns[0], id + 1),
            None,
            "an unknown id"
        );
        assert_eq!(requests.answer(net, conns[0], 0), None);
        assert_eq!(requests.answer(net, conns[0], u64::MAX), None);
        assert_eq!(requests.answer(net, conns[0], id), Some(7));
        assert_eq!(requests.answer(net, conns[0], id), None, "a second answer");
        assert_eq!(requests.cancel(net, conns[0], id), None);
        assert_eq!(requests.next_failed(), None);
    });
}

#[test]
fn cancelled_request_has_no_answer() {
    let (mut node, conns, _server) = connected(1, RequestLimits::default(), Recorder::echo());
    node.with(|it, net| {
        let id = it.begin(net, conns[0], 7).expect("within the limits");
        assert_eq!(it.requests.cancel(net, conns[0], id), Some(7));
        let again = it.begin(net, conns[0], 8).expect("within the limits");
        assert!(again > id);
    });
    until(&mut node, |it| it.answers.len() == 2);
    assert_eq!(node.handler().answers, [None, Some(8)]);
}

#[test]
fn requests_fail_with_their_connection() {
    let (mut node, conns, _server) = connected(2, RequestLimits::default(), Recorder::default());
    let ids: Vec<u64> = (0..6)
        .map(|context| {
            let conn = conns[context as usize % 2];
            let begun = node.with(|it, net| it.begin(net, conn, context));
            begun.expect("within the limits")
        })
        .collect();
    node.net().abort(conns[0]);
    until(&mut node, |it| it.failed.len() == 3);
    for (failed, context) in node.handler().failed.iter().zip([0, 2, 4]) {
        assert_eq!((failed.conn, failed.id), (conns[0], ids[context]));
        assert_eq!(failed.reason, RequestFailure::Disconnected);
        assert_eq!(failed.context as usize, context);
    }
    assert_eq!(node.handler().requests.len(), 3);
}

#[test]
fn request_without_connection_is_refused() {
    let (mut node, conns, _server) = connected(2, RequestLimits::default(), Recorder::default());
    let unknown = ConnId::from_bits(77 << 32 | 5).expect("a generation");
    let refused = |node: &mut Node<Asks>, conn| {
        let begun = node.with(|it, net| it.requests.begin(net, conn, MS, 7));
        let error = begun.expect_err("it is not open");
        (error.reason, error.context)
    };
    let not_connected = (RequestRefusal::NotConnected, 7);
    assert_eq!(refused(&mut node, unknown), not_connected);
    node.net().close(conns[0]);
    assert_eq!(refused(&mut node, conns[0]), not_connected);
    node.net().abort(conns[1]);
    assert_eq!(refused(&mut node, conns[1]), not_connected);
    let connecting = node.net().connect("127.0.0.1:1").expect("a connect");
    assert_eq!(refused(&mut node, connecting), not_connected);
    assert!(node.handler().requests.is_empty());
}

#[test]
fn limits_are_reached_exactly() {
    let limits = RequestLimits {
        max_requests: 5,
        max_requests_per_connection: 3,
    };
    let (mut node, conns, _server) = connected(2, limits, Recorder::default());
    let [one, other] = conns[..] else {
        panic!("two connections");
    };
    node.with(|it, net| {
        let refusal = |begun: Result<u64, BeginError<u32>>| begun.expect_err("a limit").reason;
        let ids: Vec<u64> = [one, one, one, other, other]
            .map(|conn| it.begin(net, conn, 0).expect("within the limits"))
            .to_vec();
        assert_eq!(
            refusal(it.begin(net, other, 0)),
            RequestRefusal::TooManyRequests
        );
        it.requests.answer(net, other, ids[4]);
        assert_eq!(
            refusal(it.begin(net, one, 0)),
            RequestRefusal::TooManyOnConnection
        );
        it.requests.cancel(net, one, ids[0]);
        it.begin(net, one, 0).expect("there is room again");
        it.begin(net, other, 0).expect("there is room again");
        // Failed requests count until they are taken.
        it.requests.on_disconnect(net, one);
        assert_eq!((it.requests.len(), it.requests.is_empty()), (2, false));
        assert_eq!(
            refusal(it.begin(net, other, 0)),
            RequestRefusal::TooManyRequests
        );
        it.requests.next_failed().expect("a failed request");
        it.begin(net, other, 0).expect("there is room again");
        assert_eq!(
            refusal(it.begin(net, other, 0)),
            RequestRefusal::TooManyRequests
        );
    });
}

#[test]
fn other_timers_are_left_alone() {
    let (mut node, conns, _server) = connected(1, RequestLimits::default(), Recorder::default());
    node.with(|it, net| {
        it.requests
            .begin(net, conns[0], MS, 7)
            .expect("within the limits");
        net.set_timer(MS, 0);
    });
    until(&mut node, |it| it.timers == 1 && it.failed.len() == 1);
    assert_eq!(node.handler().failed[0].reason, RequestFailure::TimedOut);
}
