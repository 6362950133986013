//! A line of nodes in one thread.

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use pea2pea::Pea2Pea;
use pea2pea::protocols::Writing;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Pea, React, in_time};
use crate::baton::Baton;
use crate::on::one_thread;
use crate::support::{Job, failed};

/// Passes the baton on.
struct Runner {
    neighbours: OnceLock<Vec<SocketAddr>>,
    last: UnboundedSender<io::Result<Baton>>,
}

impl Runner {
    fn pass(&self, pea: &Pea<Self>, from: SocketAddr, message: &[u8]) -> io::Result<()> {
        let baton = Baton::receive(message)?;
        let mut neighbours = self.neighbours.get().into_iter().flatten();
        let other = neighbours.find(|neighbour| **neighbour != from);
        match baton.pass(from, other.copied()) {
            Some((to, baton)) => pea.unicast_fast(to, message_of(baton)).map(drop),
            None => self.last.send(Ok(baton)).map_err(io::Error::other),
        }
    }
}

impl React for Runner {
    fn react(&self, pea: &Pea<Self>, from: SocketAddr, message: BytesMut) {
        if let Err(error) = self.pass(pea, from, &message) {
            let _ = self.last.send(Err(error));
        }
    }
}

fn message_of(baton: Baton) -> Bytes {
    Bytes::copy_from_slice(&baton.encode())
}

struct Line {
    runtime: Runtime,
    nodes: Vec<Pea<Runner>>,
    second: SocketAddr,
    last: UnboundedReceiver<io::Result<Baton>>,
}

impl Job for Line {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        let (first, last) = (&self.nodes[0], &mut self.last);
        let baton = self.runtime.block_on(async {
            first.unicast_fast(self.second, message_of(Baton::begin(amount)))?;
            in_time(last.recv()).await
        })?;
        let baton = baton.unwrap_or_else(|| Err(failed("no baton")))?;
        baton.check(self.nodes.len(), amount)
    }
}

/// Makes `amount` traversals of a line of nodes.
pub fn line(nodes: usize) -> io::Result<Box<dyn Job>> {
    let runtime = one_thread()?;
    let (sender, last) = unbounded_channel();
    let (peas, second) = runtime.block_on(async {
        let mut peas: Vec<Pea<Runner>> = Vec::with_capacity(nodes);
        let mut second = None;
        for _ in 0..nodes {
            let runner = Runner {
                neighbours: OnceLock::new(),
                last: sender.clone(),
            };
            let (pea, addr) = Pea::listen(runner).await?;
            if let Some(before) = peas.last() {
                before.node().connect(addr).await?;
                pea.wait_for(1).await?;
                second.get_or_insert(addr);
            }
            peas.push(pea);
        }
        for pea in &peas {
            let neighbours = pea.node().connected_addrs();
            pea.reaction.neighbours.get_or_init(|| neighbours);
        }
        io::Result::Ok((peas, second))
    })?;
    Ok(Box::new(Line {
        runtime,
        nodes: peas,
        second: second.ok_or_else(|| failed("a line has two nodes at least"))?,
        last,
    }))
}
