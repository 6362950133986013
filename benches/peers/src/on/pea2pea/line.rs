//! A line of nodes in one runtime.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use pea2pea::Pea2Pea;
use pea2pea::protocols::Writing;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Pea, React, soon};
use crate::job::{Job, Value, failed};
use crate::messages::Baton;
use crate::on::runtime::runtime;
use crate::on::{Threads, loopback};

/// Passes the baton on to the neighbour it did not come from, or back.
struct Runner {
    neighbours: Mutex<Vec<SocketAddr>>,
    last: UnboundedSender<Baton>,
}

impl React for Runner {
    fn react(&self, pea: &Pea<Self>, from: SocketAddr, message: BytesMut) {
        let Some(baton) = Baton::receive(&message) else {
            return;
        };
        let neighbours = self.neighbours.lock();
        let neighbours = neighbours.unwrap_or_else(PoisonError::into_inner);
        let other = neighbours.iter().find(|neighbour| **neighbour != from);
        let (to, next) = match other {
            Some(other) => (*other, Some(baton)),
            None => (from, baton.turn_back()),
        };
        // A lost baton is noticed by the wait for it.
        let _ = match next {
            Some(next) => pea.unicast_fast(to, message_of(next)).is_ok(),
            None => self.last.send(baton).is_ok(),
        };
    }
}

fn message_of(baton: Baton) -> Bytes {
    Bytes::copy_from_slice(&baton.encode())
}

struct Line {
    runtime: Runtime,
    nodes: Vec<Pea<Runner>>,
    second: SocketAddr,
    last: UnboundedReceiver<Baton>,
}

impl Job for Line {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let baton = self.runtime.block_on(async {
            let begin = message_of(Baton::begin(amount));
            self.nodes[0].unicast_fast(self.second, begin)?;
            soon("the baton", self.last.recv()).await
        })?;
        let baton = baton.ok_or_else(|| failed("the line is gone"))?;
        baton.check(self.nodes.len(), amount)?;
        Ok(Vec::new())
    }
}

/// `amount` traversals of a line of so many nodes.
pub fn line(nodes: usize, threads: Threads) -> io::Result<Box<dyn Job>> {
    let runtime = runtime(threads)?;
    let (sender, last) = unbounded_channel();
    let (peas, second) = runtime.block_on(async {
        let mut peas: Vec<Pea<Runner>> = Vec::with_capacity(nodes);
        let mut second = loopback(0);
        for number in 0..nodes {
            let runner = Runner {
                neighbours: Mutex::default(),
                last: sender.clone(),
            };
            let pea = Pea::start(Arc::new(runner)).await;
            if let Some(before) = peas.last() {
                let addr = loopback(pea.listen().await?);
                before.node().connect(addr).await?;
                pea.wait_for(1).await?;
                if number == 1 {
                    second = addr;
                }
            }
            peas.push(pea);
        }
        for pea in &peas {
            let neighbours = pea.reaction.neighbours.lock();
            *neighbours.unwrap_or_else(PoisonError::into_inner) = pea.node().connected_addrs();
        }
        io::Result::Ok((peas, second))
    })?;
    Ok(Box::new(Line {
        runtime,
        nodes: peas,
        second,
        last,
    }))
}
