//! Tokens in both directions of a ring in which every second node is one of
//! pea2pea.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use interop::node::LoopNode;
use interop::pea::{Events, Outgoing, Pea, Width};
use interop::{in_time, until};
use pea2pea::Pea2Pea;
use pea2pea::protocols::Writing;
use peerloop::{Config, ConnId, Handler, Net};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const NODES: usize = 10;
const LAPS: usize = 100;

/// Counts the tokens that pass a node.
#[derive(Clone)]
struct Counter {
    tokens: Arc<AtomicUsize>,
    arrivals: UnboundedSender<()>,
}

impl Counter {
    fn new(arrivals: &UnboundedSender<()>) -> Self {
        Self {
            tokens: Arc::default(),
            arrivals: arrivals.clone(),
        }
    }

    /// Counts a token, which is the number of hops that are left. Returns the
    /// token to send, unless this was the last hop.
    fn count(&self, token: &[u8]) -> Option<[u8; 4]> {
        self.tokens.fetch_add(1, Ordering::SeqCst);
        let token = token.try_into().expect("four bytes");
        let left = u32::from_be_bytes(token) - 1;
        if left == 0 {
            self.arrivals.send(()).expect("the test waits for it");
            return None;
        }
        Some(left.to_be_bytes())
    }
}

/// Sends every token to the neighbour from which it was not received.
struct Relay(Counter);

impl Handler for Relay {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, token: &[u8]) {
        if let Some(token) = self.0.count(token) {
            let other = net.connections().map(|c| c.id()).find(|id| *id != conn);
            net.send(other.expect("two neighbours"), &token)
                .expect("an empty queue takes it");
        }
    }
}

/// Does the same with pea2pea.
async fn relay(pea: Pea<Width>, counter: Counter, mut events: Events) {
    while let Some((source, token)) = events.messages.recv().await {
        if let Some(token) = counter.count(&token) {
            let neighbours = pea.node().connected_addrs();
            let other = neighbours.iter().find(|other| **other != source);
            let token = Outgoing::Message(token.to_vec().into());
            pea.unicast_fast(*other.expect("two neighbours"), token)
                .expect("an empty queue takes it");
        }
    }
}

enum Member {
    Loop(LoopNode<Relay>),
    Pea(Pea<Width>),
}

impl Member {
    /// Starts a member that listens. Those with odd numbers are pea2pea nodes.
    async fn start(number: usize, counter: Counter) -> (Self, SocketAddr) {
        if number.is_multiple_of(2) {
            let node = LoopNode::start(Config::default(), Relay(counter));
            let addr = node.listen();
            return (Self::Loop(node), addr);
        }
        let (pea, events) = Pea::start(Width::Four).await;
        let addr = pea.listen().await;
        tokio::spawn(relay(pea.clone(), counter, events));
        (Self::Pea(pea), addr)
    }

    async fn connect(&self, addr: SocketAddr) {
        match self {
            Self::Loop(node) => {
                node.connect(addr);
            }
            Self::Pea(pea) => pea.connect(addr).await,
        }
    }

    fn neighbours(&self) -> usize {
        match self {
            Self::Loop(node) => node.ask(|_, net| net.connection_count()),
            Self::Pea(pea) => pea.node().num_connected(),
        }
    }

    /// Sends a token in each direction. It makes `LAPS` laps.
    fn begin(&self) {
        let Self::Loop(node) = self else {
            panic!("the first member is a peerloop node");
        };
        let token = u32::try_from(NODES * LAPS).expect("few hops").to_be_bytes();
        let outcome = node.ask(move |_, net| net.broadcast_all(&token, None));
        assert_eq!(outcome.queued, 2);
    }
}

async fn ring(counters: &[Counter]) -> Vec<Member> {
    let mut members = Vec::new();
    for (number, counter) in counters.iter().enumerate() {
        members.push(Member::start(number, counter.clone()).await);
    }
    for (number, (member, _)) in members.iter().enumerate() {
        member.connect(members[(number + 1) % NODES].1).await;
    }
    until("two neighbours everywhere", || {
        members.iter().all(|(member, _)| member.neighbours() == 2)
    })
    .await;
    members.into_iter().map(|(member, _)| member).collect()
}

async fn arrival(arrivals: &mut UnboundedReceiver<()>) {
    in_time("the last hop of a token", arrivals.recv())
        .await
        .expect("the nodes run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_ring_passes_tokens_through_every_node() {
    let (sender, mut arrivals) = unbounded_channel();
    let counters: Vec<Counter> = (0..NODES).map(|_| Counter::new(&sender)).collect();
    let members = ring(&counters).await;
    members[0].begin();
    arrival(&mut arrivals).await;
    arrival(&mut arrivals).await;
    drop(members);
    for counter in &counters {
        assert_eq!(counter.tokens.load(Ordering::SeqCst), 2 * LAPS);
    }
    assert!(arrivals.try_recv().is_err(), "an unexpected token");
}
