//! One message to many: a call for each, because its `broadcast` is deprecated in
//! favour of that.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use pea2pea::Pea2Pea;
use pea2pea::protocols::Writing;
use tokio::runtime::Runtime;

use super::{Ignore, Pea, React};
use crate::job::{Job, Metric, Value};
use crate::messages::{Goal, Messages};
use crate::on::peerloop::broadcast::batches;
use crate::on::runtime::runtime;
use crate::on::{Threads, loopback};

/// Checks and counts what comes on its one connection.
struct Ear {
    goal: Arc<Goal>,
    had: AtomicU64,
}

impl React for Ear {
    fn react(&self, _: &Pea<Self>, _: SocketAddr, message: BytesMut) {
        let had = self.had.load(Ordering::Relaxed);
        let next = self.goal.take(had, &message);
        self.had.store(next, Ordering::Relaxed);
    }
}

struct Speech {
    runtime: Runtime,
    speaker: Pea<Ignore>,
    goal: Arc<Goal>,
    peers: Vec<SocketAddr>,
    _ears: Vec<Pea<Ear>>,
}

impl Job for Speech {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let mut queueing = Duration::ZERO;
        for batch in batches(amount) {
            self.goal.set(batch);
            let begun = Instant::now();
            // Writers are woken on the runtime.
            let _entered = self.runtime.enter();
            for number in 0..batch {
                let message = self.goal.messages().get(number);
                for peer in &self.peers {
                    self.speaker.unicast_fast(*peer, message.clone())?;
                }
            }
            queueing += begun.elapsed();
            self.goal.wait()?;
        }
        let deliveries = amount as f64 * self.peers.len() as f64;
        let value = queueing.as_nanos() as f64 / deliveries;
        Ok(vec![(Metric::Queueing, value)])
    }
}

/// `amount` messages to each of so many other nodes, on a runtime with two threads.
/// A node names its connections by the other's address, so each receiver is
/// another node.
pub fn broadcast(size: usize, peers: usize) -> io::Result<Box<dyn Job>> {
    let runtime = runtime(Threads::Two)?;
    let goal = Arc::new(Goal::new(Messages::of(size), peers));
    let (speaker, ears, peers) = runtime.block_on(async {
        let speaker = Pea::start(Arc::new(Ignore)).await;
        let (mut ears, mut addrs) = (Vec::new(), Vec::new());
        for _ in 0..peers {
            let ear = Ear {
                goal: Arc::clone(&goal),
                had: AtomicU64::new(0),
            };
            let ear = Pea::start(Arc::new(ear)).await;
            let addr = loopback(ear.listen().await?);
            speaker.node().connect(addr).await?;
            ear.wait_for(1).await?;
            ears.push(ear);
            addrs.push(addr);
        }
        io::Result::Ok((speaker, ears, addrs))
    })?;
    Ok(Box::new(Speech {
        runtime,
        speaker,
        goal,
        peers,
        _ears: ears,
    }))
}
