//! Messages in one direction.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use pea2pea::Pea2Pea;
use tokio::runtime::Runtime;

use super::{Ignore, Pea, React};
use crate::on::two_threads;
use crate::support::Job;
use crate::support::messages::Goal;

/// Checks the messages of all its connections, which are distinguished by the
/// port of the other end.
pub struct Sink {
    goal: Arc<Goal>,
    received: Vec<AtomicU64>,
}

impl Sink {
    fn new(goal: Arc<Goal>) -> Self {
        let received = (0..=u16::MAX).map(|_| AtomicU64::new(0)).collect();
        Self { goal, received }
    }
}

impl React for Sink {
    fn react(&self, _: &Pea<Self>, from: SocketAddr, message: BytesMut) {
        // Only one task serves a connection.
        let received = &self.received[usize::from(from.port())];
        let next = self.goal.take(received.load(Ordering::Relaxed), &message);
        received.store(next, Ordering::Relaxed);
    }
}

struct Stream {
    runtime: Runtime,
    sources: Vec<Pea<Ignore>>,
    addr: SocketAddr,
    goal: Arc<Goal>,
    _sink: Pea<Sink>,
}

impl Job for Stream {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        self.goal.set(amount);
        for source in &self.sources {
            let (source, to, goal) = (source.clone(), self.addr, Arc::clone(&self.goal));
            self.runtime.spawn(async move {
                for number in 0..amount {
                    let message = goal.messages().get(number);
                    if let Err(error) = source.send(to, message).await {
                        return goal.fail(format!("a send: {error}"));
                    }
                }
            });
        }
        self.goal.wait()
    }
}

/// Sends `amount` messages from each of `connections` nodes to another one.
pub fn stream(size: usize, connections: usize) -> io::Result<Box<dyn Job>> {
    let runtime = two_threads()?;
    let goal = Arc::new(Goal::new(size, connections));
    let (sink, addr, sources) = runtime.block_on(async {
        let (sink, addr) = Pea::listen(Sink::new(Arc::clone(&goal))).await?;
        let mut sources = Vec::new();
        for _ in 0..connections {
            let source = Pea::start(Ignore).await;
            source.node().connect(addr).await?;
            sources.push(source);
        }
        sink.wait_for(connections).await?;
        io::Result::Ok((sink, addr, sources))
    })?;
    Ok(Box::new(Stream {
        runtime,
        sources,
        addr,
        goal,
        _sink: sink,
    }))
}
