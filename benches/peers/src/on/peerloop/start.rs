//! The life of a node without connections.

use std::io;
use std::time::{Duration, Instant};

use peerloop::{Config, Node, Turn};

use super::trips::Echo;
use crate::job::{Job, Metric, Value, failed};

struct Starts;

impl Job for Starts {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let (mut start, mut stop) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..amount {
            let begun = Instant::now();
            let mut node = Node::new(Config::default(), Echo)?;
            node.net().listen("127.0.0.1:0")?;
            if node.turn(Some(Duration::ZERO))? == Turn::Stopped {
                return Err(failed("the node has stopped"));
            }
            start += begun.elapsed();
            let begun = Instant::now();
            node.net().shutdown(Duration::ZERO);
            node.run()?;
            drop(node);
            stop += begun.elapsed();
        }
        Ok(start_and_stop(amount, start, stop))
    }
}

/// The two figures of this work.
pub fn start_and_stop(amount: u64, start: Duration, stop: Duration) -> Vec<Value> {
    let each = |time: Duration| time.as_nanos() as f64 / amount as f64;
    vec![(Metric::Start, each(start)), (Metric::Stop, each(stop))]
}

/// `amount` nodes that are made, listen, make a turn, and stop.
pub fn starts() -> io::Result<Box<dyn Job>> {
    Ok(Box::new(Starts))
}
