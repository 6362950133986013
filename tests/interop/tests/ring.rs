//! A ring in which every second node is a pea2pea one: tokens travel round it in both directions.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use interop::looping::Looping;
use interop::pea::{Happenings, Outgoing, Pea, Width};
use interop::{soon, until};
use pea2pea::Pea2Pea;
use pea2pea::protocols::Writing;
use peerloop::{Config, ConnId, Handler, Net};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const NODES: usize = 10;
const LAPS: usize = 100;

/// The token that has come one node further; `None` when it has come round for the last time.
fn further(token: &[u8]) -> Option<[u8; 4]> {
    let token = token.try_into().expect("a token is four bytes");
    let left = u32::from_be_bytes(token) - 1;
    (left > 0).then(|| left.to_be_bytes())
}

/// The counts of a node of either kind.
#[derive(Clone)]
struct Tally {
    tokens: Arc<AtomicUsize>,
    arrivals: UnboundedSender<()>,
}

impl Tally {
    fn new(arrivals: &UnboundedSender<()>) -> Self {
        Self {
            tokens: Arc::default(),
            arrivals: arrivals.clone(),
        }
    }

    /// Counts the token; what is to be sent on.
    fn count(&self, token: &[u8]) -> Option<[u8; 4]> {
        self.tokens.fetch_add(1, Ordering::SeqCst);
        let next = further(token);
        if next.is_none() {
            self.arrivals.send(()).expect("the test waits for it");
        }
        next
    }
}

/// Passes every token on to the neighbour from which it did not come.
struct Passer(Tally);

impl Handler for Passer {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, token: &[u8]) {
        if let Some(token) = self.0.count(token) {
            let other = net.connections().map(|c| c.id()).find(|id| *id != conn);
            net.send(other.expect("two neighbours"), &token)
                .expect("an empty queue takes it");
        }
    }
}

/// The same with pea2pea.
async fn pass(pea: Pea, tally: Tally, mut happenings: Happenings) {
    while let Some((source, token)) = happenings.messages.recv().await {
        if let Some(token) = tally.count(&token) {
            let neighbours = pea.node().connected_addrs();
            let other = neighbours.iter().find(|other| **other != source);
            let token = Outgoing::Whole(token.to_vec().into());
            pea.unicast_fast(*other.expect("two neighbours"), token)
                .expect("an empty queue takes it");
        }
    }
}

enum Member {
    Looping(Looping<Passer>),
    Pea(Pea),
}

impl Member {
    /// Every second member is a pea2pea node; all of them listen.
    async fn start(number: usize, tally: Tally) -> (Self, SocketAddr) {
        if number.is_multiple_of(2) {
            let looping = Looping::start(Config::default(), Passer(tally));
            let addr = looping.listen();
            return (Self::Looping(looping), addr);
        }
        let (pea, happenings) = Pea::start(Width::Four).await;
        let addr = pea.listen().await;
        tokio::spawn(pass(pea.clone(), tally, happenings));
        (Self::Pea(pea), addr)
    }

    async fn connect(&self, addr: SocketAddr) {
        match self {
            Self::Looping(looping) => {
                looping.connect(addr);
            }
            Self::Pea(pea) => soon("a connect", pea.node().connect(addr))
                .await
                .expect("a connection"),
        }
    }

    fn neighbours(&self) -> usize {
        match self {
            Self::Looping(looping) => looping.ask(|_, net| net.connection_count()),
            Self::Pea(pea) => pea.node().num_connected(),
        }
    }

    /// Sends a token for `LAPS` laps to every neighbour, so one in either direction.
    fn inject(&self) {
        let Self::Looping(looping) = self else {
            panic!("the first member is a peerloop node");
        };
        let token = u32::try_from(NODES * LAPS).expect("few hops").to_be_bytes();
        let outcome = looping.ask(move |_, net| net.broadcast_all(&token, None));
        assert_eq!(outcome.queued, 2);
    }
}

async fn ring(tallies: &[Tally]) -> Vec<Member> {
    let mut members = Vec::new();
    for (number, tally) in tallies.iter().enumerate() {
        members.push(Member::start(number, tally.clone()).await);
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
    soon("a token to come home", arrivals.recv())
        .await
        .expect("the nodes live");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_pass_every_node_of_a_mixed_ring_once_a_lap() {
    let (sender, mut arrivals) = unbounded_channel();
    let tallies: Vec<Tally> = (0..NODES).map(|_| Tally::new(&sender)).collect();
    let members = ring(&tallies).await;
    members[0].inject();
    arrival(&mut arrivals).await;
    arrival(&mut arrivals).await;
    drop(members);
    for tally in &tallies {
        assert_eq!(tally.tokens.load(Ordering::SeqCst), 2 * LAPS);
    }
    assert!(arrivals.try_recv().is_err(), "a token too many");
}
