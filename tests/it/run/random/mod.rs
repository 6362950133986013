//! The random workload on sockets: three nodes make random calls, and a model checks
//! every callback and every result.

mod model;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use model::Model;
use peerloop::config::TurnBudget;
use peerloop::{Config, DisconnectReason, Net, Node, Turn};

use crate::util::settings::for_each_seed;
use crate::util::{PATIENCE, Random, config_with, turn};

/// Small limits and budgets, so that each of them is reached.
fn config() -> Config {
    config_with(|config| {
        config.limits.max_connections = 12;
        config.limits.loop_send_bytes = 60_000;
        config.connection.send_queue.high_bytes = 8_000;
        config.connection.send_queue.low_bytes = 2_000;
        config.connection.send_queue.max_bytes = 30_000;
        config.connection.timeouts.linger = Some(Duration::from_millis(100));
        config.budget = TurnBudget {
            read_bytes: 700,
            write_bytes: 500,
            accepts: 1,
            ..Default::default()
        };
        config.sockets.send_buffer_bytes = Some(4096);
        config.sockets.receive_buffer_bytes = Some(4096);
    })
}

/// Returns nodes that know each other's addresses, and one at which connects fail.
fn nodes(seed: u64) -> [Node<Model>; 3] {
    let make = |number| Node::new(config(), Model::new(number, seed)).expect("a node");
    let mut nodes = [0, 1, 2].map(make);
    let addrs = nodes
        .each_mut()
        .map(|node| node.net().listen("127.0.0.1:0").expect("a listener").addr);
    for (node, own) in nodes.iter_mut().zip(addrs) {
        let others = addrs.into_iter().filter(|addr| *addr != own);
        let refusing = SocketAddr::from(([127, 0, 0, 1], 1));
        node.handler_mut().targets = others.chain([refusing]).collect();
    }
    nodes
}

/// Turns the nodes in random order until each has made its calls, then shuts them
/// down.
fn run(nodes: &mut [Node<Model>; 3]) {
    let end = Instant::now() + PATIENCE;
    let mut order = Random::new(1);
    let mut stopping = false;
    loop {
        let node = &mut nodes[order.below(3)];
        if turn(node, Some(Duration::ZERO)) != Turn::Stopped {
            let act = |model: &mut Model, net: &mut Net| {
                model.act(net);
                model.check_views(net);
            };
            node.handle().post(act).expect("the queue has room");
        }
        if !stopping && nodes.iter().all(|node| node.handler().calls_left == 0) {
            stopping = true;
            for node in nodes.iter_mut() {
                node.net().shutdown(Duration::from_millis(50));
            }
        }
        let stopped = |node: &mut Node<Model>| turn(node, Some(Duration::ZERO)) == Turn::Stopped;
        if stopping && nodes.iter_mut().all(stopped) {
            return;
        }
        assert!(Instant::now() < end, "not finished; stopping: {stopping}");
    }
}

/// Checks that everything that one end sent arrived, where that end closed and the
/// other end did not stop reading. Returns the number of connections compared.
fn check_deliveries(nodes: &[Node<Model>; 3]) -> u64 {
    let mut compared = 0;
    for receiver in nodes {
        for (conn, end) in &receiver.handler().expected {
            let (Some(DisconnectReason::PeerClosed), Some((node, name))) =
                (end.reason, &end.partner)
            else {
                continue;
            };
            let sender = &nodes[*node].handler().expected;
            let other = sender.iter().find(|(conn, _)| conn.to_string() == *name);
            let (_, other) = other.expect("the other end");
            let is_clean = matches!(
                other.reason,
                Some(DisconnectReason::Local | DisconnectReason::PeerClosed)
            );
            if is_clean {
                assert_eq!(end.received, other.sent, "{conn}: {end:?} {other:?}");
                compared += 1;
            }
        }
    }
    compared
}

#[test]
fn callbacks_and_results_match_the_model() {
    for_each_seed(4, |seed| {
        let mut nodes = nodes(seed);
        run(&mut nodes);
        for node in &mut nodes {
            let net = node.net();
            let counts = [net.connection_count(), net.connecting_count()];
            assert_eq!((counts, net.metrics().queued_bytes), ([0, 0], 0));
            let model = node.handler();
            assert_eq!(model.violations, [""; 0]);
            assert!(model.has_all_ended());
        }
        assert!(check_deliveries(&nodes) > 0, "nothing was compared");
    });
}
