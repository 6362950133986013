//! Peers that are gone in the middle of a frame, on either side.
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use bytes::Bytes;
use interop::looping::{Exchange, Looping, Report, Reports};
use interop::pea::{Outgoing, Pea, Width};
use interop::plan::{Plan, seed};
use interop::soon;
use pea2pea::{DisconnectOrigin, Pea2Pea};
use peerloop::{Config, ConnId, DisconnectReason, Handler, Net};
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const MESSAGES: usize = 1_000;
const LONGEST: usize = 64 * 1024;

/// The body of the frame that never arrives, and how much of the frame is sent.
const CUT: &[u8] = &[7; 10_000];
const HALF: usize = (4 + CUT.len()) / 2;

/// A peerloop node that expects the plan.
fn receiver(plan: Plan) -> (Looping<Exchange>, Reports, SocketAddr) {
    let (exchange, reports) = Exchange::new(Plan::nothing(), plan);
    let looping = Looping::start(Config::default(), exchange);
    let addr = looping.listen();
    (looping, reports, addr)
}

/// The plan arrived completely, then the connection ended once, for one of these
/// reasons, and nothing else happened.
async fn assert_complete_and_cut(
    looping: Looping<Exchange>,
    mut reports: Reports,
    reason: DisconnectReason,
) {
    let _ = reports.connection().await;
    assert_eq!(reports.report().await, Report::Complete);
    assert_eq!(reports.report().await, Report::Disconnected(reason));
    assert_eq!(looping.ask(|_, net| net.connection_count()), 0);
    drop(looping);
    assert_eq!(reports.rest().await, []);
}

/// A runtime that is to be dropped in mid-frame.
fn doomed() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

#[tokio::test]
async fn all_frames_before_the_cut_arrive_when_a_pea2pea_runtime_is_dropped() {
    let plan = Plan::new(seed(), MESSAGES, LONGEST);
    let (looping, reports, addr) = receiver(plan.clone());
    let runtime = doomed();
    let sending = runtime.spawn(async move {
        let (pea, happenings) = Pea::start(Width::Four).await;
        pea.node().connect(addr).await.expect("a connection");
        pea.send_all(addr, plan).await;
        pea.send(addr, Outgoing::Half(Bytes::from_static(CUT)))
            .await;
        (pea, happenings)
    });
    let living = soon("all to be sent", sending).await.expect("it sends");
    runtime.shutdown_background();
    let reason = DisconnectReason::Truncated { bytes: HALF };
    assert_complete_and_cut(looping, reports, reason).await;
    drop(living);
}

#[tokio::test]
async fn all_frames_before_the_cut_arrive_when_a_pea2pea_node_shuts_down() {
    let plan = Plan::new(seed(), MESSAGES, LONGEST);
    let (looping, reports, addr) = receiver(plan.clone());
    let (pea, _happenings) = Pea::start(Width::Four).await;
    pea.node().connect(addr).await.expect("a connection");
    soon("all to be sent", pea.send_all(addr, plan)).await;
    pea.send(addr, Outgoing::Half(Bytes::from_static(CUT)))
        .await;
    soon("the shutdown", pea.node().shut_down()).await;
    let reason = DisconnectReason::Truncated { bytes: HALF };
    assert_complete_and_cut(looping, reports, reason).await;
}

#[tokio::test]
async fn a_pea2pea_node_that_resets_in_mid_frame_ends_the_connection_once() {
    let plan = Plan::new(seed(), MESSAGES, LONGEST);
    let (exchange, mut reports) = Exchange::new(Plan::nothing(), plan.clone());
    let looping = Looping::start(Config::default(), exchange);
    let addr = looping.listen();
    let (pea, _happenings) = Pea::start(Width::Four).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_zero_linger().expect("the option");
    let connect = pea.node().connect_using_socket(addr, socket);
    soon("a connect", connect).await.expect("a connection");
    let _ = reports.connection().await;
    soon("all to be sent", pea.send_all(addr, plan)).await;
    // A reset takes what the sender's kernel still has, so all must have arrived.
    assert_eq!(reports.report().await, Report::Complete);
    pea.send(addr, Outgoing::Half(Bytes::from_static(CUT)))
        .await;
    soon("the shutdown", pea.node().shut_down()).await;
    // tokio sends a FIN as it drops the writing half, just before the reset. Either
    // may be noticed first.
    let truncated = DisconnectReason::Truncated { bytes: HALF };
    let clear = [DisconnectReason::Reset, truncated].map(Report::Disconnected);
    let end = reports.report().await;
    assert!(clear.contains(&end), "{end:?}");
    drop(looping);
    assert_eq!(reports.rest().await, []);
}

/// The bytes that are queued on a connection.
fn queued(net: &Net, conn: ConnId) -> usize {
    let connection = net.connection(conn);
    connection.map_or(0, |connection| connection.queued_bytes())
}

/// Aborts its connection as soon as a part of the queue, and not all of it, has left.
struct Saboteur {
    target: Option<(ConnId, usize)>,
    ends: UnboundedSender<DisconnectReason>,
}

impl Saboteur {
    const BODY: usize = 3 * 1024 * 1024;

    /// Begins with a frame that takes the loop many turns.
    fn begin(&mut self, net: &mut Net) {
        let conn = net.connections().next().expect("it is connected").id();
        net.send(conn, vec![1; Self::BODY])
            .expect("an empty queue takes it");
        self.target = Some((conn, queued(net, conn)));
    }
}

impl Handler for Saboteur {
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
            assert!(left > 0, "it all left in one turn");
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
async fn pea2pea_goes_on_with_others_when_peerloop_aborts_in_mid_frame() {
    let (pea, mut happenings) = Pea::start(Width::Four).await;
    let addr = pea.listen().await;
    let bystander = Looping::start(Config::default(), Echo);
    bystander.connect(addr);
    let bystander_addr = happenings.connection().await;
    let (ends, mut ended) = unbounded_channel();
    let target = None;
    let saboteur = Looping::start(Config::default(), Saboteur { target, ends });
    saboteur.connect(addr);
    let saboteur_addr = happenings.connection().await;
    for expected in ["one", "", "three"] {
        assert_eq!(happenings.message(saboteur_addr).await, expected);
    }

    saboteur.ask(|saboteur, net| saboteur.begin(net));
    let gone = (saboteur_addr, DisconnectOrigin::Reading);
    assert_eq!(happenings.disconnection().await, gone);
    let reason = soon("the end", ended.recv()).await;
    assert_eq!(reason, Some(DisconnectReason::Local));
    let lost = saboteur.ask(|_, net| net.metrics().bytes_lost);
    assert!(lost > 0 && lost < 4 + Saboteur::BODY as u64, "{lost} lost");

    let plan = Plan::new(seed(), MESSAGES, 1024);
    let sending = {
        let (pea, plan) = (pea.clone(), plan.clone());
        tokio::spawn(async move { pea.send_all(bystander_addr, plan).await })
    };
    happenings.receive(bystander_addr, plan).await;
    soon("all to be sent", sending).await.expect("it sends");
    happenings.assert_nothing_more();
    drop(saboteur);
    assert_eq!(ended.recv().await, None, "it ended twice");
}
