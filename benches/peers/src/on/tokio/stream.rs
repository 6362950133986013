//! Messages in one direction, and one message to many connections.

use std::io;
use std::sync::Arc;

use futures_util::SinkExt;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Wire, flush, listener, next, pair};
use crate::on::two_threads;
use crate::support::Job;
use crate::support::messages::{Goal, Messages};
use crate::support::nodes::batches;

/// Checks the messages of a connection.
async fn receive(mut wire: Wire, goal: Arc<Goal>) {
    let mut received = 0;
    loop {
        match next(&mut wire).await {
            Ok(message) => received = goal.take(received, &message),
            Err(error) => return goal.fail(format!("a read: {error}")),
        }
    }
}

/// Sends messages whenever an amount is requested.
async fn send(mut wire: Wire, goal: Arc<Goal>, mut amounts: UnboundedReceiver<u64>) {
    while let Some(amount) = amounts.recv().await {
        if let Err(error) = send_all(&mut wire, goal.messages(), amount).await {
            return goal.fail(format!("a send: {error}"));
        }
    }
}

async fn send_all(wire: &mut Wire, messages: &Messages, amount: u64) -> io::Result<()> {
    for number in 0..amount {
        wire.feed(messages.get(number).clone()).await?;
    }
    flush(wire).await
}

struct Stream {
    _runtime: Runtime,
    goal: Arc<Goal>,
    senders: Vec<UnboundedSender<u64>>,
}

impl Job for Stream {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        self.goal.set(amount);
        for sender in &self.senders {
            sender.send(amount).map_err(io::Error::other)?;
        }
        self.goal.wait()
    }
}

/// Sends `amount` messages on each connection.
pub fn stream(size: usize, connections: usize) -> io::Result<Box<dyn Job>> {
    let runtime = two_threads()?;
    let goal = Arc::new(Goal::new(size, connections));
    let senders = runtime.block_on(async {
        let listener = listener().await?;
        let mut senders = Vec::new();
        for _ in 0..connections {
            let (sending, receiving) = pair(&listener).await?;
            let (sender, amounts) = unbounded_channel();
            tokio::spawn(receive(receiving, Arc::clone(&goal)));
            tokio::spawn(send(sending, Arc::clone(&goal), amounts));
            senders.push(sender);
        }
        io::Result::Ok(senders)
    })?;
    Ok(Box::new(Stream {
        _runtime: runtime,
        goal,
        senders,
    }))
}

struct Broadcast {
    runtime: Runtime,
    goal: Arc<Goal>,
    wires: Vec<Wire>,
}

impl Job for Broadcast {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        for batch in batches(amount) {
            self.goal.set(batch);
            self.runtime.block_on(async {
                for wire in &mut self.wires {
                    send_all(wire, self.goal.messages(), batch).await?;
                }
                io::Result::Ok(())
            })?;
            self.goal.wait()?;
        }
        Ok(())
    }
}

/// Sends `amount` messages to each connection from one task.
pub fn broadcast(size: usize, connections: usize) -> io::Result<Box<dyn Job>> {
    let runtime = two_threads()?;
    let goal = Arc::new(Goal::new(size, connections));
    let wires = runtime.block_on(async {
        let listener = listener().await?;
        let mut wires = Vec::new();
        for _ in 0..connections {
            let (sending, receiving) = pair(&listener).await?;
            tokio::spawn(receive(receiving, Arc::clone(&goal)));
            wires.push(sending);
        }
        io::Result::Ok(wires)
    })?;
    Ok(Box::new(Broadcast {
        runtime,
        goal,
        wires,
    }))
}
