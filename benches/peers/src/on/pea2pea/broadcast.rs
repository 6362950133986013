//! One message to many connections: a call for each, because `broadcast` is
//! deprecated in favour of that.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use pea2pea::Pea2Pea;
use pea2pea::protocols::Writing;
use tokio::runtime::Runtime;

use super::{Ignore, Pea, React};
use crate::on::two_threads;
use crate::support::Job;
use crate::support::messages::Goal;
use crate::support::nodes::batches;

/// Checks the messages of its one connection.
struct Sink {
    goal: Arc<Goal>,
    received: AtomicU64,
}

impl React for Sink {
    fn react(&self, _: &Pea<Self>, _: SocketAddr, message: BytesMut) {
        let received = self.received.load(Ordering::Relaxed);
        let next = self.goal.take(received, &message);
        self.received.store(next, Ordering::Relaxed);
    }
}

struct Broadcast {
    runtime: Runtime,
    source: Pea<Ignore>,
    goal: Arc<Goal>,
    addrs: Vec<SocketAddr>,
    _sinks: Vec<Pea<Sink>>,
}

impl Job for Broadcast {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        for batch in batches(amount) {
            self.goal.set(batch);
            // Sending wakes tasks of the runtime.
            let _entered = self.runtime.enter();
            for number in 0..batch {
                let message = self.goal.messages().get(number);
                for addr in &self.addrs {
                    self.source.unicast_fast(*addr, message.clone())?;
                }
            }
            self.goal.wait()?;
        }
        Ok(())
    }
}

/// Sends `amount` messages to each of `connections` other nodes. Each
/// connection needs another node, because a node identifies connections by the
/// address of the peer.
pub fn broadcast(size: usize, connections: usize) -> io::Result<Box<dyn Job>> {
    let runtime = two_threads()?;
    let goal = Arc::new(Goal::new(size, connections));
    let (source, sinks, addrs) = runtime.block_on(async {
        let source = Pea::start(Ignore).await;
        let (mut sinks, mut addrs) = (Vec::new(), Vec::new());
        for _ in 0..connections {
            let sink = Sink {
                goal: Arc::clone(&goal),
                received: AtomicU64::new(0),
            };
            let (sink, addr) = Pea::listen(sink).await?;
            source.node().connect(addr).await?;
            sink.wait_for(1).await?;
            sinks.push(sink);
            addrs.push(addr);
        }
        io::Result::Ok((source, sinks, addrs))
    })?;
    Ok(Box::new(Broadcast {
        runtime,
        source,
        goal,
        addrs,
        _sinks: sinks,
    }))
}
