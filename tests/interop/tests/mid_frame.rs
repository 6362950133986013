//! Connections that end in the middle of a frame, at either end.
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use bytes::Bytes;
use interop::in_time;
use interop::node::{Exchange, LoopNode, Report, Reports};
use interop::pea::{Outgoing, Pea, Width};
use interop::plan::{Plan, seed};
use pea2pea::{DisconnectOrigin, Pea2Pea};
use peerloop::{Config, ConnId, DisconnectReason, Handler, Net};
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const MESSAGES: usize = 1_000;
const LONGEST: usize = 64 * 1024;

/// The body of the last frame, and the number of its bytes that are sent.
const CUT: &[u8] = &[7; 10_000];
const HALF: usize = (4 + CUT.len()) / 2;

/// Starts a peerloop node that expects the plan.
fn receiver(plan: Plan) -> (LoopNode<Exchange>, Reports, SocketAddr) {
    let (exchange, reports) = Exchange::new(Plan::nothing(), plan);
    let node = LoopNode::start(Config::default(), exchange);
    let addr = node.listen();
    (node, reports, addr)
}

/// Asserts that all messages arrive, and that the connection then ends once,
/// for this reason.
async fn assert_complete_and_ended(
    node: LoopNode<Exchange>,
    mut reports: Reports,
    reason: DisconnectReason,
) {
    let _ = reports.connection().await;
    assert_eq!(reports.report().await, Report::Complete);
    assert_eq!(reports.report().await, Report::Disconnected(reason));
    assert_eq!(node.ask(|_, net| net.connection_count()), 0);
    drop(node);
    assert_eq!(reports.rest().await, []);
}

/// Returns a runtime that is dropped in the middle of a frame.
fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

#[tokio::test]
async fn dropped_pea2pea_runtime_mid_frame_truncates() {
    let plan = Plan::new(seed(), MESSAGES, LONGEST);
    let (node, reports, addr) = receiver(plan.clone());
    let runtime = runtime();
    let sending = runtime.spawn(async move {
        let (pea, events) = Pea::start(Width::Four).await;
        pea.connect(addr).await;
        pea.send_all(addr, plan).await;
        pea.send(addr, Outgoing::Half(Bytes::from_static(CUT)))
            .await;
        (pea, events)
    });
    let living = in_time("all to be sent", sending).await.expect("it sends");
    runtime.shutdown_background();
    let reason = DisconnectReason::Truncated { bytes: HALF };
    assert_complete_and_ended(node, reports, reason).await;
    drop(living);
}

#[tokio::test]
async fn pea2pea_shutdown_mid_frame_truncates() {
    let plan = Plan::new(seed(), MESSAGES, LONGEST);
    let (node, reports, addr) = receiver(plan.clone());
    let (pea, _events) = Pea::start(Width::Four).await;
    pea.connect(addr).await;
    in_time("all to be sent", pea.send_all(addr, plan)).await;
    pea.send(addr, Outgoing::Half(Bytes::from_static(CUT)))
        .await;
    in_time("the shutdown", pea.node().shut_down()).await;
    let reason = DisconnectReason::Truncated { bytes: HALF };
    assert_complete_and_ended(node, reports, reason).await;
}

#[tokio::test]
async fn pea2pea_reset_mid_frame_ends_once() {
    let plan = Plan::new(seed(), MESSAGES, LONGEST);
    let (exchange, mut reports) = Exchange::new(Plan::nothing(), plan.clone());
    let node = LoopNode::start(Config::default(), exchange);
    let addr = node.listen();
    let (pea, _events) = Pea::start(Width::Four).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_zero_linger().expect("the option");
    let connect = pea.node().connect_using_socket(addr, socket);
    in_time("a connect", connect).await.expect("a connection");
    let _ = reports.connection().await;
    in_time("all to be sent", pea.send_all(addr, plan)).await;
    // A reset discards the send buffer of the kernel. All must have arrived
    // before.
    assert_eq!(reports.report().await, Report::Complete);
    pea.send(addr, Outgoing::Half(Bytes::from_static(CUT)))
        .await;
    in_time("the shutdown", pea.node().shut_down()).await;
    // tokio sends a FIN when it drops the writing half, just before the reset.
    // Either is reported.
    let truncated = DisconnectReason::Truncated { bytes: HALF };
    let either = [DisconnectReason::Reset, truncated].map(Report::Disconnected);
    let end = reports.report().await;
    assert!(either.contains(&end), "{end:?}");
    drop(node);
    assert_eq!(reports.rest().await, []);
}

/// Returns the number of queued bytes of a connection.
fn queued(net: &Net, conn: ConnId) -> usize {
    let connection = net.connection(conn);
    connection.map_or(0, |connection| connection.queued_bytes())
}

/// Aborts its connection as soon as a part of the queue is written.
struct Aborter {
    target: Option<(ConnId, usize)>,
    ends: UnboundedSender<DisconnectReason>,
}

impl Aborter {
    const BODY: usize = 3 * 1024 * 1024;

    /// Sends a frame that takes many turns.
    fn begin(&mut self, net: &mut Net) {
        let conn = net.connections().next().expect("it is connected").id();
        net.send(conn, vec![1; Self::BODY])
            .expect("an empty queue takes it");
        self.target = Some((conn, queued(net, conn)));
    }
}

impl Handler for Aborter {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        for message in [b"one".as_slice(), b"", b"three"] {
            net.send(conn, message).expect("an empty queue takes it");
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        let _ = self.ends.send(reason);
    }

    fn on_turn(&mut self, net: &mut Net) {
        let Some((conn, whole)) = self.target else {
            return;
        };
        let left = queued(net, conn);
        if left < whole {
            assert!(left > 0, "all of it was written in one turn");
            net.abort(conn);
            self.target = None;
        }
    }
}

/// Answers every message with itself.
struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        net.send(conn, message).expect("the queue has room");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abort_mid_frame_leaves_others_connected() {
    let (pea, mut events) = Pea::start(Width::Four).await;
    let addr = pea.listen().await;
    let other = LoopNode::start(Config::default(), Echo);
    other.connect(addr);
    let other_addr = events.connection().await;
    let (ends, mut ended) = unbounded_channel();
    let target = None;
    let aborter = LoopNode::start(Config::default(), Aborter { target, ends });
    aborter.connect(addr);
    let aborter_addr = events.connection().await;
    for expected in ["one", "", "three"] {
        assert_eq!(events.message(aborter_addr).await, expected);
    }

    aborter.ask(|aborter, net| aborter.begin(net));
    let expected = (aborter_addr, DisconnectOrigin::Reading);
    assert_eq!(events.disconnection().await, expected);
    let reason = in_time("the end", ended.recv()).await;
    assert_eq!(reason, Some(DisconnectReason::Local));
    let lost = aborter.ask(|_, net| net.metrics().bytes_lost);
    assert!(lost > 0 && lost < 4 + Aborter::BODY as u64, "{lost} lost");

    let plan = Plan::new(seed(), MESSAGES, 1024);
    let sending = {
        let (pea, plan) = (pea.clone(), plan.clone());
        tokio::spawn(async move { pea.send_all(other_addr, plan).await })
    };
    events.receive(other_addr, plan).await;
    in_time("all to be sent", sending).await.expect("it sends");
    events.assert_none();
    drop(aborter);
    assert_eq!(ended.recv().await, None, "it ended twice");
}
