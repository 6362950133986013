//! Fast senders and slow receivers of different libraries: the memory has a
//! bound, and all messages arrive.
#![forbid(unsafe_code)]

use std::time::Duration;

use interop::in_time;
use interop::node::{Exchange, LoopNode, Report};
use interop::pea::{Pea, Width};
use interop::plan::{Plan, seed};
use pea2pea::Pea2Pea;
use peerloop::Config;
use peerloop::config::SocketConfig;
use tokio::net::TcpSocket;

/// 64 MiB on average.
const MESSAGES: usize = 1024;
const LONGEST: usize = 128 * 1024;

/// Returns a socket with a small buffer, so that the queue of the sender fills.
fn socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 * 1024).expect("the option");
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_pea2pea_node_bounds_the_send_queue() {
    let plan = Plan::new(seed(), MESSAGES, LONGEST);
    let (exchange, mut reports) = Exchange::new(plan.clone(), Plan::nothing());
    let config = Config {
        sockets: SocketConfig {
            send_buffer_bytes: Some(64 * 1024),
            ..Default::default()
        },
        ..Config::default()
    };
    // The maximum is a queue just below the mark and one more frame, in blocks
    // of 288 KiB. A block before a body that is not copied is filled to more
    // than a quarter, and the last one may be free.
    let high = config.connection.send_queue.high_bytes;
    let bound = 4 * (high + LONGEST) + 289 * 1024;
    let node = LoopNode::start(config, exchange);
    let addr = node.listen();
    let (pea, mut events) = Pea::start(Width::Four).await;
    let connect = pea.node().connect_using_socket(addr, socket());
    in_time("a connect", connect).await.expect("a connection");
    assert_eq!(events.connection().await, addr);
    let conn = reports.connection().await;

    // The pea2pea node waits while the test receives no messages. The sender
    // stops with most of them left.
    let mut before = usize::MAX;
    in_time("a standstill", async {
        loop {
            let (left, queued) = node.ask(move |exchange, net| {
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
        let message = events.message(addr).await;
        assert!(message == expected, "message {number} is wrong");
        if number.is_multiple_of(16) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let metrics = node.ask(|_, net| net.metrics());
    assert_eq!(metrics.queued_bytes, 0);
    assert_eq!(metrics.sends_refused, 0);
    assert!(metrics.drains > 0);
    let most = metrics.max_queued_bytes;
    assert!(most >= high && most <= bound, "{most} bytes were queued");
    drop(node);
    let _ = events.disconnection().await;
    events.assert_none();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_node_receives_all_from_pea2pea() {
    let plan = Plan::new(seed(), MESSAGES, LONGEST);
    let pause = Duration::from_millis(20);
    let (exchange, mut reports) = Exchange::pausing(Plan::nothing(), plan.clone(), pause);
    let config = Config {
        sockets: SocketConfig {
            receive_buffer_bytes: Some(64 * 1024),
            ..Default::default()
        },
        ..Config::default()
    };
    let node = LoopNode::start(config, exchange);
    let addr = node.listen();
    let (pea, mut events) = Pea::start(Width::Four).await;
    pea.connect(addr).await;
    assert_eq!(events.connection().await, addr);
    let _ = reports.connection().await;
    in_time("all to be sent", pea.send_all(addr, plan)).await;
    assert_eq!(reports.report().await, Report::Complete);
    drop(node);
    let _ = events.disconnection().await;
    events.assert_none();
}
