//! A thousand cycles of connect, exchange and disconnect leave nothing behind. It is
//! alone in its process, because every byte is counted.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use memory_bounds::{PATIENCE, descriptors, heap};
use peerloop::{Config, ConnId, DisconnectReason, Handler, Net, Node, SendOutcome};

const CYCLES: usize = 1000;
/// From here on nothing may grow, because every list has reached its maximum.
const SETTLED: usize = CYCLES / 3 + 1;

#[derive(Default)]
struct Counter {
    connected: usize,
    disconnected: usize,
    messages: usize,
    sent: usize,
    answers: bool,
}

impl Handler for Counter {
    fn on_connect(&mut self, _: &mut Net, _: ConnId) {
        self.connected += 1;
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.messages += 1;
        if self.answers {
            net.send_tracked(conn, message, 1)
                .expect("the queue has room");
        }
    }

    fn on_sent(&mut self, _: &mut Net, _: ConnId, _: u64, outcome: SendOutcome) {
        assert_eq!(outcome, SendOutcome::HandedOver);
        self.sent += 1;
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, _: DisconnectReason) {
        self.disconnected += 1;
    }
}

type Pair = [Node<Counter>; 2];

fn run_until(nodes: &mut Pair, mut condition: impl FnMut(&Pair) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition(nodes) {
        assert!(Instant::now() < end, "the cycle does not go on");
        for node in nodes.iter_mut() {
            let _ = node.turn(Some(Duration::from_millis(1))).expect("a turn");
        }
    }
}

/// Connects, exchanges a short message and one that arrives in many pieces, and ends
/// in one of three ways. It is over when no deadline is left at either node.
fn cycle(nodes: &mut Pair, addr: SocketAddr, number: usize, long: &[u8]) {
    let conn = nodes[0].net().connect(addr).expect("a connect");
    run_until(nodes, |nodes| {
        nodes.iter().all(|node| node.handler().connected == number)
    });
    let net = nodes[0].net();
    net.send(conn, b"short").expect("the queue has room");
    net.send(conn, long).expect("the queue has room");
    run_until(nodes, |[connector, listener]| {
        connector.handler().messages == 2 * number && listener.handler().sent == 2 * number
    });
    match number % 3 {
        0 => nodes[0].net().close(conn),
        1 => nodes[0].net().abort(conn),
        _ => {
            let net = nodes[1].net();
            let theirs = net.connections().next().expect("it is connected").id();
            net.close(theirs);
        }
    }
    run_until(nodes, |nodes| {
        nodes
            .iter()
            .all(|node| node.handler().disconnected == number && node.timeout().is_none())
    });
}

/// The quantities of the two nodes that must not grow: file descriptors,
/// connections, connects and queued bytes.
fn held(nodes: &mut Pair) -> [usize; 5] {
    let mut held = [0; 5];
    held[0] = descriptors();
    for node in nodes {
        let net = node.net();
        held[1] += net.connection_count();
        held[2] += net.connecting_count();
        held[3] += net.metrics().queued_bytes;
        held[4] += net.connections().count();
    }
    held
}

#[test]
fn thousand_cycles_leave_nothing_behind() {
    let answering = Counter {
        answers: true,
        ..Counter::default()
    };
    // A turn that ends early on a slow machine allocates a list for the rest.
    let mut config = Config::default();
    config.budget.max_visit_time = Duration::MAX;
    config.budget.max_turn_time = Duration::MAX;
    let mut nodes = [Counter::default(), answering]
        .map(|counter| Node::new(config.clone(), counter).expect("a node"));
    let addr = nodes[1]
        .net()
        .listen("127.0.0.1:0")
        .expect("a listener")
        .addr;
    let long = vec![5; 200_000];
    let before = held(&mut nodes);
    let mut settled = 0;
    for number in 1..=CYCLES {
        cycle(&mut nodes, addr, number, &long);
        assert_eq!(held(&mut nodes), before, "after cycle {number}");
        if number == SETTLED {
            settled = heap();
        }
    }
    let growth = heap() as isize - settled as isize;
    println!("the heap grew by {growth} bytes from cycle {SETTLED} to {CYCLES}");
    assert_eq!(
        growth, 0,
        "bytes of the heap more than after cycle {SETTLED}"
    );
}
