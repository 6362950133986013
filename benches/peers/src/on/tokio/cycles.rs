//! Connecting and disconnecting.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::{framed, serve};
use crate::on::two_threads;
use crate::support::{Job, failed};

struct Cycles {
    runtime: Runtime,
    addr: SocketAddr,
}

impl Job for Cycles {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        self.runtime.block_on(async {
            for _ in 0..amount {
                let mut wire = framed(TcpStream::connect(self.addr).await?)?;
                SinkExt::<Bytes>::close(&mut wire).await?;
                if wire.next().await.is_some() {
                    return Err(failed("an unexpected message"));
                }
            }
            Ok(())
        })
    }
}

/// Makes `amount` connections, one after the other. Each is closed by the end
/// that connected, then by the other.
pub fn cycles() -> io::Result<Box<dyn Job>> {
    let runtime = two_threads()?;
    let addr = runtime.block_on(serve())?;
    Ok(Box::new(Cycles { runtime, addr }))
}
