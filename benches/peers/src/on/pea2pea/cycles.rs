//! Connecting and disconnecting.

use std::io;
use std::net::SocketAddr;

use pea2pea::Pea2Pea;
use tokio::runtime::Runtime;

use super::{Ignore, Pea};
use crate::on::two_threads;
use crate::support::{Job, failed};

struct Cycles {
    runtime: Runtime,
    cycler: Pea<Ignore>,
    server: Pea<Ignore>,
    addr: SocketAddr,
}

impl Job for Cycles {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        self.runtime.block_on(async {
            for _ in 0..amount {
                self.cycler.node().connect(self.addr).await?;
                if !self.cycler.node().disconnect(self.addr).await {
                    return Err(failed("the connection had ended already"));
                }
            }
            self.server.wait_for(0).await
        })
    }
}

/// Makes `amount` connections, one after the other. Each is ended by the end
/// that connected.
pub fn cycles() -> io::Result<Box<dyn Job>> {
    let runtime = two_threads()?;
    let (cycler, server, addr) = runtime.block_on(async {
        let (server, addr) = Pea::listen(Ignore).await?;
        io::Result::Ok((Pea::start(Ignore).await, server, addr))
    })?;
    Ok(Box::new(Cycles {
        runtime,
        cycler,
        server,
        addr,
    }))
}
