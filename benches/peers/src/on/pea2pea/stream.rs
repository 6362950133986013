//! One way, as fast as it goes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use tokio::runtime::Runtime;

use super::{Ignore, Pea, React};
use crate::job::{Job, Value};
use crate::messages::{Goal, Messages};
use crate::on::runtime::runtime;
use crate::on::{Threads, loopback};
use pea2pea::Pea2Pea;

/// Checks and counts what arrives on all its connections, which are distinguished
/// by the port of the other end.
pub struct Sink {
    goal: Arc<Goal>,
    had: Vec<AtomicU64>,
}

impl Sink {
    pub fn new(goal: Arc<Goal>) -> Self {
        let had = (0..=u16::MAX).map(|_| AtomicU64::new(0)).collect();
        Self { goal, had }
    }
}

impl React for Sink {
    fn react(&self, _: &Pea<Self>, from: SocketAddr, message: BytesMut) {
        // Only one task serves a connection.
        let had = &self.had[from.port() as usize];
        let next = self.goal.take(had.load(Ordering::Relaxed), &message);
        had.store(next, Ordering::Relaxed);
    }
}

struct Stream {
    runtime: Runtime,
    sources: Vec<(Pea<Ignore>, SocketAddr)>,
    goal: Arc<Goal>,
    _sink: Pea<Sink>,
}

impl Job for Stream {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        self.goal.set(amount);
        for (source, to) in &self.sources {
            let (source, to, goal) = (source.clone(), *to, Arc::clone(&self.goal));
            self.runtime.spawn(async move {
                for number in 0..amount {
                    let message = goal.messages().get(number);
                    if let Err(error) = source.send(to, message).await {
                        return goal.fail(format!("a send: {error}"));
                    }
                }
            });
        }
        self.goal.wait()?;
        Ok(Vec::new())
    }
}

/// `amount` messages from each of so many nodes to another one, on a runtime with two threads.
pub fn stream(size: usize, connections: usize) -> io::Result<Box<dyn Job>> {
    let runtime = runtime(Threads::Two)?;
    let goal = Arc::new(Goal::new(Messages::of(size), connections));
    let (sink, sources) = runtime.block_on(async {
        let sink = Pea::start(Arc::new(Sink::new(Arc::clone(&goal)))).await;
        let addr = loopback(sink.listen().await?);
        let mut sources = Vec::new();
        for _ in 0..connections {
            let source = Pea::start(Arc::new(Ignore)).await;
            source.node().connect(addr).await?;
            sources.push((source, addr));
        }
        sink.wait_for(connections).await?;
        io::Result::Ok((sink, sources))
    })?;
    Ok(Box::new(Stream {
        runtime,
        sources,
        goal,
        _sink: sink,
    }))
}
