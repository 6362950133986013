//! Timers beside other timers.

use std::io;
use std::time::Duration;

use peerloop::{Node, TimerId};

use super::config;
use super::trips::Echo;
use crate::job::{Job, Value, failed};

struct Timers {
    node: Node<Echo>,
}

impl Job for Timers {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let net = self.node.net();
        for number in 0..amount {
            let after = Duration::from_secs(number * 7 % 7200);
            let timer = net.set_timer(after, number);
            if net.cancel_timer(timer) != Some(number) {
                return Err(failed("a timer was lost"));
            }
        }
        Ok(Vec::new())
    }
}

/// Setting and cancelling `amount` timers while so many others are set.
pub fn timers(others: u64) -> io::Result<Box<dyn Job>> {
    let mut node = Node::new(config(), Echo)?;
    for key in 0..others {
        let after = Duration::from_secs(3600 + key % 600);
        let _: TimerId = node.net().set_timer(after, key);
    }
    Ok(Box::new(Timers { node }))
}
