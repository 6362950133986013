//! Ten thousand messages each way between a pea2pea node and a peerloop node, of
//! which either connects.
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use interop::looping::{Exchange, Looping, Report};
use interop::pea::{Pea, Width};
use interop::plan::{Plan, seed};
use interop::soon;
use pea2pea::Pea2Pea;
use peerloop::config::ConnectionConfig;
use peerloop::{Config, DisconnectReason};

const MESSAGES: usize = 10_000;

enum Connector {
    Pea,
    Looping,
}

/// Connects the two; the address by which the pea2pea node knows the peerloop node.
async fn connect(
    connector: Connector,
    pea: &Pea,
    looping: &Looping<Exchange>,
    connected: impl Future<Output = SocketAddr>,
) -> SocketAddr {
    match connector {
        Connector::Pea => {
            let connection = pea.node().connect(looping.listen());
            soon("a connect", connection).await.expect("a connection");
        }
        Connector::Looping => {
            looping.connect(pea.listen().await);
        }
    }
    connected.await
}

async fn exchange(connector: Connector, width: Width, longest: usize) {
    let seed = seed();
    let from_pea = Plan::new(seed, MESSAGES, longest);
    let from_looping = Plan::new(!seed, MESSAGES, longest);
    let (pea, mut happenings) = Pea::start(width).await;
    let (exchange, mut reports) = Exchange::new(from_looping.clone(), from_pea.clone());
    let config = Config {
        connection: ConnectionConfig {
            framing: width.framing(),
            ..Default::default()
        },
        ..Config::default()
    };
    let looping = Looping::start(config, exchange);
    let there = connect(connector, &pea, &looping, happenings.connection()).await;
    let _ = reports.connection().await;

    let sending = {
        let (pea, plan) = (pea.clone(), from_pea.clone());
        tokio::spawn(async move { pea.send_all(there, plan).await })
    };
    happenings.receive(there, from_looping.clone()).await;
    soon("all to be sent", sending).await.expect("it sends");
    assert_eq!(reports.report().await, Report::Complete);

    // Both libraries have counted the same.
    let counted = looping.ask(|_, net| net.traffic());
    let header = width.header();
    let expected = (MESSAGES as u64, from_looping.bytes_on_the_wire(header));
    assert_eq!((counted.messages_sent, counted.bytes_sent), expected);
    assert_eq!(pea.node().stats().received(), expected);
    let expected = (MESSAGES as u64, from_pea.bytes_on_the_wire(header));
    let received = (counted.messages_received, counted.bytes_received);
    assert_eq!(received, expected);

    let over = pea.node().disconnect(there);
    assert!(soon("the disconnect", over).await);
    let closed = Report::Disconnected(DisconnectReason::PeerClosed);
    assert_eq!(reports.report().await, closed);
    let _ = happenings.disconnection().await;
    happenings.assert_nothing_more();
    drop(looping);
    assert_eq!(reports.rest().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pea2pea_connects_with_four_byte_lengths() {
    exchange(Connector::Pea, Width::Four, 64 * 1024).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peerloop_connects_with_four_byte_lengths() {
    exchange(Connector::Looping, Width::Four, 64 * 1024).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pea2pea_connects_with_two_byte_lengths() {
    exchange(Connector::Pea, Width::Two, 65_535).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peerloop_connects_with_two_byte_lengths() {
    exchange(Connector::Looping, Width::Two, 65_535).await;
}
