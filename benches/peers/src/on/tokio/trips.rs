//! Round trips.

use std::io;

use futures_util::SinkExt;
use tokio::runtime::Runtime;

use super::{Wire, answer, flush, listener, next, pair};
use crate::on::one_thread;
use crate::support::{Job, messages};

struct Trips {
    runtime: Runtime,
    trips: messages::Trips,
    wire: Wire,
}

impl Job for Trips {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        let (trips, wire) = (&mut self.trips, &mut self.wire);
        trips.begin(amount);
        self.runtime.block_on(async {
            while !trips.is_over() {
                while let Some(question) = trips.ask() {
                    wire.feed(question.clone()).await?;
                }
                flush(wire).await?;
                trips.take(&next(wire).await?);
                while !wire.read_buffer().is_empty() {
                    trips.take(&next(wire).await?);
                }
            }
            io::Result::Ok(())
        })?;
        trips.check()
    }
}

/// Makes round trips between two tasks of one thread.
pub fn trips(size: usize, outstanding: u64) -> io::Result<Box<dyn Job>> {
    let runtime = one_thread()?;
    let wire = runtime.block_on(async {
        let (asking, answering) = pair(&listener().await?).await?;
        tokio::spawn(answer(answering));
        io::Result::Ok(asking)
    })?;
    Ok(Box::new(Trips {
        runtime,
        trips: messages::Trips::new(size, outstanding),
        wire,
    }))
}
