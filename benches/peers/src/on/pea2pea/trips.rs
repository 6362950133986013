//! Round trips.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use pea2pea::Pea2Pea;
use pea2pea::protocols::Writing;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::{Echo, Pea, React, soon};
use crate::job::{Job, Value};
use crate::messages;
use crate::on::runtime::runtime;
use crate::on::{Threads, loopback};

/// Keeps round trips under way on its one connection.
struct Pinger {
    trips: Mutex<messages::Trips>,
    over: Notify,
}

impl Pinger {
    fn trips(&self) -> MutexGuard<'_, messages::Trips> {
        self.trips.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, pea: &Pea<Self>, to: SocketAddr) {
        let mut trips = self.trips();
        while let Some(question) = trips.ask() {
            // A lost message is noticed at the end.
            let _ = pea.unicast_fast(to, question.clone());
        }
        if trips.over() {
            self.over.notify_one();
        }
    }
}

impl React for Pinger {
    fn react(&self, pea: &Pea<Self>, from: SocketAddr, message: BytesMut) {
        self.trips().take(&message);
        self.ask(pea, from);
    }
}

struct Trips {
    runtime: Runtime,
    pinger: Pea<Pinger>,
    addr: SocketAddr,
    _echo: Pea<Echo>,
}

impl Job for Trips {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let reaction = &self.pinger.reaction;
        reaction.trips().begin(amount);
        self.runtime.block_on(async {
            reaction.ask(&self.pinger, self.addr);
            soon("the answers", reaction.over.notified()).await
        })?;
        reaction.trips().values()
    }
}

/// Round trips between two nodes of one runtime.
pub fn trips(size: usize, outstanding: u64, threads: Threads) -> io::Result<Box<dyn Job>> {
    let runtime = runtime(threads)?;
    let (pinger, addr, echo) = runtime.block_on(async {
        let echo = Pea::start(Arc::new(Echo)).await;
        let addr = loopback(echo.listen().await?);
        let pinger = Pinger {
            trips: Mutex::new(messages::Trips::new(size, outstanding)),
            over: Notify::new(),
        };
        let pinger = Pea::start(Arc::new(pinger)).await;
        pinger.node().connect(addr).await?;
        echo.wait_for(1).await?;
        io::Result::Ok((pinger, addr, echo))
    })?;
    Ok(Box::new(Trips {
        runtime,
        pinger,
        addr,
        _echo: echo,
    }))
}
