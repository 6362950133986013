//! Round trips.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use pea2pea::Pea2Pea;
use pea2pea::protocols::Writing;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::{Echo, Pea, React, in_time};
use crate::on::one_thread;
use crate::support::{Job, messages};

/// Makes round trips on its one connection.
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
            // The job fails without the answer.
            let _ = pea.unicast_fast(to, question.clone());
        }
        if trips.is_over() {
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
    fn run(&mut self, amount: u64) -> io::Result<()> {
        let reaction = &self.pinger.reaction;
        reaction.trips().begin(amount);
        self.runtime.block_on(async {
            reaction.ask(&self.pinger, self.addr);
            in_time(reaction.over.notified()).await
        })?;
        reaction.trips().check()
    }
}

/// Makes round trips between two nodes in one thread.
pub fn trips(size: usize, outstanding: u64) -> io::Result<Box<dyn Job>> {
    let runtime = one_thread()?;
    let (pinger, addr, echo) = runtime.block_on(async {
        let (echo, addr) = Pea::listen(Echo).await?;
        let pinger = Pea::start(Pinger {
            trips: Mutex::new(messages::Trips::new(size, outstanding)),
            over: Notify::new(),
        })
        .await;
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
