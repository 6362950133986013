//! Fast senders and slow receivers of the other library: bounded memory, and
//! nothing lost.
#![forbid(unsafe_code)]

use std::time::Duration;

use interop::looping::{Exchange, Looping, Report};
use interop::pea::{Pea, Width};
use interop::plan::{Plan, seed};
use interop::soon;
use pea2pea::Pea2Pea;
use peerloop::Config;
use peerloop::config::SocketConfig;
use tokio::net::TcpSocket;

/// 64 MiB on the average.
const MESSAGES: usize = 1024;
const LONGEST: usize = 128 * 1024;

/// A socket whose buffer is small, so that what the kernel holds does not hide a queue that grows.
fn narrow() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 * 1024).expect("the option");
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_pea2pea_node_bounds_the_queue_of_peerloop_and_gets_everything() {
    let plan = Plan::new(seed(), MESSAGES, LONGEST);
    let (exchange, mut reports) = Exchange::new(plan.clone(), Plan::nothing());
    let config = Config {
        sockets: SocketConfig {
            send_buffer_bytes: Some(64 * 1024),
            ..Default::default()
        },
        ..Config::default()
    };
    // The maximum that may wait: a queue just below the mark and one more frame, in
    // blocks of which the first may be written and the last free.
    let high = config.connection.send_queue.high_bytes;
    let bound = high + LONGEST + 512 * 1024;
    let looping = Looping::start(config, exchange);
    let addr = looping.listen();
    let (pea, mut happenings) = Pea::start(Width::Four).await;
    let connect = pea.node().connect_using_socket(addr, narrow());
    soon("a connect", connect).await.expect("a connection");
    assert_eq!(happenings.connection().await, addr);
    let conn = reports.connection().await;

    // The test takes no messages from the pea2pea node now, so the sender stops
    // with most of them left.
    let mut before = usize::MAX;
    soon("a standstill", async {
        loop {
            let (left, queued) = looping.ask(move |exchange, net| {
                let connection = net.connection(conn).expect("it is connected");
                (exchange.unsent(), connection.queued_bytes())
            });
            if left == before && queued > 0 {
                break;
            }
            before = left;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert!(before > MESSAGES / 2, "only {before} messages are left");

    for (number, expected) in plan.enumerate() {
        let message = happenings.message(addr).await;
        assert!(message == expected, "message {number} is another one");
        if number.is_multiple_of(16) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let metrics = looping.ask(|_, net| net.metrics());
    assert_eq!(metrics.queued_bytes, 0);
    assert_eq!(metrics.sends_refused, 0);
    assert!(metrics.drains > 0);
    let most = metrics.max_queued_bytes;
    assert!(most >= high && most <= bound, "{most} bytes were queued");
    drop(looping);
    let _ = happenings.disconnection().await;
    happenings.assert_nothing_more();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peerloop_node_that_pauses_gets_everything_from_pea2pea() {
    let plan = Plan::new(seed(), MESSAGES, LONGEST);
    let rest = Duration::from_millis(20);
    let (exchange, mut reports) = Exchange::dawdling(Plan::nothing(), plan.clone(), rest);
    let config = Config {
        sockets: SocketConfig {
            receive_buffer_bytes: Some(64 * 1024),
            ..Default::default()
        },
        ..Config::default()
    };
    let looping = Looping::start(config, exchange);
    let addr = looping.listen();
    let (pea, mut happenings) = Pea::start(Width::Four).await;
    let connect = pea.node().connect(addr);
    soon("a connect", connect).await.expect("a connection");
    assert_eq!(happenings.connection().await, addr);
    let _ = reports.connection().await;
    soon("all to be sent", pea.send_all(addr, plan)).await;
    assert_eq!(reports.report().await, Report::Complete);
    drop(looping);
    let _ = happenings.disconnection().await;
    happenings.assert_nothing_more();
}
