//! Ten thousand messages in each direction between a pea2pea node and a
//! peerloop node.
#![forbid(unsafe_code)]

use interop::in_time;
use interop::node::{Exchange, LoopNode, Report};
use interop::pea::{Pea, Width};
use interop::plan::{Plan, seed};
use pea2pea::Pea2Pea;
use peerloop::config::ConnectionConfig;
use peerloop::{Config, Direction, DisconnectReason};

const MESSAGES: usize = 10_000;

/// `direction` is that of the peerloop node.
async fn exchange(direction: Direction, width: Width, longest: usize) {
    let seed = seed();
    let from_pea = Plan::new(seed, MESSAGES, longest);
    let from_loop = Plan::new(!seed, MESSAGES, longest);
    let (pea, mut events) = Pea::start(width).await;
    let (exchange, mut reports) = Exchange::new(from_loop.clone(), from_pea.clone());
    let config = Config {
        connection: ConnectionConfig {
            framing: width.framing(),
            ..Default::default()
        },
        ..Config::default()
    };
    let node = LoopNode::start(config, exchange);
    match direction {
        Direction::Inbound => pea.connect(node.listen()).await,
        Direction::Outbound => {
            node.connect(pea.listen().await);
        }
    }
    // The address of the peerloop node, as the pea2pea node has it.
    let there = events.connection().await;
    let _ = reports.connection().await;

    let sending = {
        let (pea, plan) = (pea.clone(), from_pea.clone());
        tokio::spawn(async move { pea.send_all(there, plan).await })
    };
    events.receive(there, from_loop.clone()).await;
    in_time("all to be sent", sending).await.expect("it sends");
    assert_eq!(reports.report().await, Report::Complete);

    // Both libraries count the same.
    let traffic = node.ask(|_, net| net.traffic());
    let header = width.header();
    let expected = (MESSAGES as u64, from_loop.bytes_on_the_wire(header));
    assert_eq!((traffic.messages_sent, traffic.bytes_sent), expected);
    assert_eq!(pea.node().stats().received(), expected);
    let expected = (MESSAGES as u64, from_pea.bytes_on_the_wire(header));
    let received = (traffic.messages_received, traffic.bytes_received);
    assert_eq!(received, expected);

    let disconnect = pea.node().disconnect(there);
    assert!(in_time("the disconnect", disconnect).await);
    let closed = Report::Disconnected(DisconnectReason::PeerClosed);
    assert_eq!(reports.report().await, closed);
    let _ = events.disconnection().await;
    events.assert_none();
    drop(node);
    assert_eq!(reports.rest().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pea2pea_connects_with_four_byte_lengths() {
    exchange(Direction::Inbound, Width::Four, 64 * 1024).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peerloop_connects_with_four_byte_lengths() {
    exchange(Direction::Outbound, Width::Four, 64 * 1024).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pea2pea_connects_with_two_byte_lengths() {
    exchange(Direction::Inbound, Width::Two, 65_535).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peerloop_connects_with_two_byte_lengths() {
    exchange(Direction::Outbound, Width::Two, 65_535).await;
}
