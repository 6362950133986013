//! A line of tasks in one thread.

use std::io;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Wire, listener, next, pair};
use crate::baton::Baton;
use crate::on::one_thread;
use crate::support::{Job, failed};

/// Passes the baton on.
async fn run_along(mut left: Wire, mut right: Option<Wire>, last: UnboundedSender<Baton>) {
    let running = async {
        loop {
            let (message, is_from_left) = match &mut right {
                Some(right) => tokio::select! {
                    message = next(&mut left) => (message?, true),
                    message = next(right) => (message?, false),
                },
                None => (next(&mut left).await?, true),
            };
            let (from, other) = match (&mut right, is_from_left) {
                (Some(right), true) => (&mut left, Some(right)),
                (Some(right), false) => (right, Some(&mut left)),
                (None, _) => (&mut left, None),
            };
            let baton = Baton::receive(&message)?;
            match baton.pass(from, other) {
                Some((to, baton)) => to.send(message_of(baton)).await?,
                None => last.send(baton).map_err(io::Error::other)?,
            }
        }
    };
    // The job fails without the baton.
    let _: io::Result<()> = running.await;
}

fn message_of(baton: Baton) -> Bytes {
    Bytes::copy_from_slice(&baton.encode())
}

struct Line {
    runtime: Runtime,
    first: Wire,
    nodes: usize,
    last: UnboundedReceiver<Baton>,
}

impl Job for Line {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        let (first, last) = (&mut self.first, &mut self.last);
        let baton = self.runtime.block_on(async {
            // The first node is this task.
            let mut baton = Baton::begin(amount);
            loop {
                first.send(message_of(baton)).await?;
                let back = tokio::select! {
                    last = last.recv() => return last.ok_or_else(|| failed("no baton")),
                    message = next(first) => Baton::receive(&message?)?,
                };
                match back.turn_back() {
                    Some(next) => baton = next,
                    None => return Ok(back),
                }
            }
        })?;
        baton.check(self.nodes, amount)
    }
}

/// Makes `amount` traversals of a line of tasks.
pub fn line(nodes: usize) -> io::Result<Box<dyn Job>> {
    let runtime = one_thread()?;
    let (sender, last) = unbounded_channel();
    let first = runtime.block_on(async {
        let listener = listener().await?;
        let (first, mut left) = pair(&listener).await?;
        for _ in 2..nodes {
            let (right, next) = pair(&listener).await?;
            tokio::spawn(run_along(left, Some(right), sender.clone()));
            left = next;
        }
        tokio::spawn(run_along(left, None, sender));
        io::Result::Ok(first)
    })?;
    Ok(Box::new(Line {
        runtime,
        first,
        nodes,
        last,
    }))
}
