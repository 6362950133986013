//! One way, to a node of several shards.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use peerloop::shards::{Placement, ShardOptions, Shards, ShardsHandle};

use super::stream::{Sink, Source, Stream};
use super::{Running, config};
use crate::job::{Job, in_time};
use crate::messages::{Goal, Messages};

/// `amount` messages on each of so many connections from one node to the shards of
/// another, which have as many each.
pub fn stream(size: usize, connections: usize, shards: usize) -> io::Result<Box<dyn Job>> {
    let goal = Arc::new(Goal::new(Messages::of(size), connections));
    let options = ShardOptions {
        shards,
        placement: Placement::RoundRobin,
    };
    let sink = Shards::start(config(), options, |_, _| Sink::new(Arc::clone(&goal)))?;
    let addr = sink.listen("127.0.0.1:0")?.addr;
    let source = Running::new(config(), Source::new(Arc::clone(&goal)))?;
    source.handle.ask(move |_, net| {
        (0..connections).try_for_each(|_| net.connect(addr).map(drop).map_err(io::Error::other))
    })??;
    source.wait_for(connections)?;
    wait_for(&sink.handle(), connections)?;
    Ok(Box::new(Stream::new(source, goal, sink)))
}

/// Waits until the shards have so many connections together.
fn wait_for(sink: &ShardsHandle<Sink>, connections: usize) -> io::Result<()> {
    let begun = Instant::now();
    let count = || -> io::Result<usize> {
        let counts = sink.ask_all(|_, net| net.connection_count())?;
        Ok(counts.iter().sum())
    };
    while count()? != connections {
        in_time(begun, "connections")?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
