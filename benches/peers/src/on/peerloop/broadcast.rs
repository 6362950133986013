//! One message to many.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerloop::{ConnId, Handler, Net};

use super::stream::Sink;
use super::{Running, config};
use crate::job::{Job, Metric, Value, failed};
use crate::messages::{Goal, Messages};

/// How a message gets to all connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// One call for all.
    Broadcast,
    /// A call for each.
    Singly,
}

struct Speaker {
    way: Way,
    messages: Messages,
    conns: Vec<ConnId>,
}

impl Speaker {
    /// Queues this many messages for all connections, and returns how long that
    /// took.
    fn speak(&self, net: &mut Net, amount: u64) -> Result<Duration, String> {
        let begun = Instant::now();
        for number in 0..amount {
            let message = self.messages.get(number);
            match self.way {
                Way::Broadcast => {
                    let outcome = net.broadcast(self.conns.iter().copied(), &message[..]);
                    if outcome.queued != self.conns.len() {
                        return Err(format!("a broadcast: {outcome:?}"));
                    }
                }
                Way::Singly => {
                    for conn in &self.conns {
                        net.send(*conn, message).map_err(|e| e.to_string())?;
                    }
                }
            }
        }
        Ok(begun.elapsed())
    }
}

impl Handler for Speaker {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.conns.push(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

struct Speech {
    speaker: Running<Speaker>,
    goal: Arc<Goal>,
    peers: usize,
    _sink: Running<Sink>,
}

impl Job for Speech {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        let mut queueing = Duration::ZERO;
        for batch in batches(amount) {
            self.goal.set(batch);
            let speak = move |speaker: &mut Speaker, net: &mut Net| speaker.speak(net, batch);
            queueing += self.speaker.handle.ask(speak)?.map_err(failed)?;
            self.goal.wait()?;
        }
        let deliveries = amount as f64 * self.peers as f64;
        let value = queueing.as_nanos() as f64 / deliveries;
        Ok(vec![(Metric::Queueing, value)])
    }
}

/// A batch fits the queues of every contestant; the next is begun when all of it has arrived.
pub const BATCH: u64 = 32;

pub fn batches(amount: u64) -> impl Iterator<Item = u64> {
    let whole = (amount / BATCH) as usize;
    let rest = Some(amount % BATCH).filter(|rest| *rest > 0);
    std::iter::repeat_n(BATCH, whole).chain(rest)
}

/// `amount` messages to each of so many connections of one other node.
pub fn broadcast(size: usize, peers: usize, way: Way) -> io::Result<Box<dyn Job>> {
    let goal = Arc::new(Goal::new(Messages::of(size), peers));
    let sink = Running::new(config(), Sink::new(Arc::clone(&goal)))?;
    let speaker = Speaker {
        way,
        messages: goal.messages().clone(),
        conns: Vec::new(),
    };
    let speaker = Running::new(config(), speaker)?;
    speaker.connect_to(&sink, peers)?;
    Ok(Box::new(Speech {
        speaker,
        goal,
        peers,
        _sink: sink,
    }))
}
