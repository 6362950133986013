//! Connecting and disconnecting.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use pea2pea::Pea2Pea;
use tokio::runtime::Runtime;

use super::{Ignore, Pea};
use crate::job::{Job, Value, failed};
use crate::on::runtime::runtime;
use crate::on::{Threads, loopback};

struct Cycles {
    runtime: Runtime,
    cycler: Pea<Ignore>,
    host: Pea<Ignore>,
    addr: SocketAddr,
}

impl Job for Cycles {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        self.runtime.block_on(async {
            for _ in 0..amount {
                self.cycler.node().connect(self.addr).await?;
                if !self.cycler.node().disconnect(self.addr).await {
                    return Err(failed("the connection was gone already"));
                }
            }
            // The host notices this end. By then all is over.
            self.host.wait_for(0).await
        })?;
        Ok(Vec::new())
    }
}

/// `amount` connections, one after the other, each ended by the end that connected.
pub fn cycles() -> io::Result<Box<dyn Job>> {
    let runtime = runtime(Threads::Two)?;
    let (cycler, host, addr) = runtime.block_on(async {
        let host = Pea::start(Arc::new(Ignore)).await;
        let addr = loopback(host.listen().await?);
        io::Result::Ok((Pea::start(Arc::new(Ignore)).await, host, addr))
    })?;
    Ok(Box::new(Cycles {
        runtime,
        cycler,
        host,
        addr,
    }))
}
