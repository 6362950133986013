//! The life of a node without connections.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pea2pea::Pea2Pea;
use pea2pea::protocols::{OnConnect, OnDisconnect};
use tokio::runtime::Runtime;

use super::{Ignore, Pea};
use crate::job::{Job, Value};
use crate::on::Threads;
use crate::on::peerloop::start::start_and_stop;
use crate::on::runtime::runtime;

struct Starts(Runtime);

impl Job for Starts {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        self.0.block_on(async {
            let (mut start, mut stop) = (Duration::ZERO, Duration::ZERO);
            for _ in 0..amount {
                let begun = Instant::now();
                let pea = Pea::start(Arc::new(Ignore)).await;
                pea.enable_on_connect().await;
                pea.enable_on_disconnect().await;
                pea.listen().await?;
                start += begun.elapsed();
                let begun = Instant::now();
                pea.node().shut_down().await;
                drop(pea);
                stop += begun.elapsed();
            }
            Ok(start_and_stop(amount, start, stop))
        })
    }
}

/// `amount` nodes with all protocols enabled that are made, listen, and are shut down.
pub fn starts() -> io::Result<Box<dyn Job>> {
    Ok(Box::new(Starts(runtime(Threads::Two)?)))
}
