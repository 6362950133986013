//! The messages of the works, and the checks that they arrive: everything that is
//! measured is checked.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use crate::job::{Metric, PATIENCE, Value, failed};

/// The number of different messages, after which they repeat. It is small, so
/// that large messages stay in the cache of the sender as one message would.
const KINDS: u64 = 8;

/// Longer messages are compared completely only at the beginning, so that the
/// comparison is not what is measured.
const COMPARED_WHOLE: usize = 256;

/// An endless row of messages of one size, known to both sides.
#[derive(Clone)]
pub struct Messages {
    kinds: Vec<Bytes>,
}

impl Messages {
    pub fn of(size: usize) -> Self {
        let kind = |kind: u64| {
            let byte = |at: usize| (kind as usize * 31 + at * 7 + at / 256) as u8;
            (0..size).map(byte).collect()
        };
        Self {
            kinds: (0..KINDS).map(kind).collect(),
        }
    }

    /// The message of that number.
    #[inline]
    pub fn get(&self, number: u64) -> &Bytes {
        &self.kinds[(number % KINDS) as usize]
    }

    /// Whether this is the message of that number.
    #[inline]
    pub fn is(&self, number: u64, message: &[u8]) -> bool {
        let expected = self.get(number);
        if expected.len() <= COMPARED_WHOLE || number < 2 * KINDS {
            return expected == message;
        }
        let len = expected.len();
        message.len() == len
            && message[..16] == expected[..16]
            && message[len - 16..] == expected[len - 16..]
    }
}

/// The receiving side of a transfer: how much must arrive on each connection.
pub struct Goal {
    messages: Messages,
    each: AtomicU64,
    connections: u64,
    finished: AtomicU64,
    outcome: Sender<Result<(), String>>,
    outcomes: Mutex<Receiver<Result<(), String>>>,
}

impl Goal {
    pub fn new(messages: Messages, connections: usize) -> Self {
        let (outcome, outcomes) = channel();
        Self {
            messages,
            each: AtomicU64::new(u64::MAX),
            connections: connections as u64,
            finished: AtomicU64::new(0),
            outcome,
            outcomes: Mutex::new(outcomes),
        }
    }

    pub fn messages(&self) -> &Messages {
        &self.messages
    }

    /// Expects this many messages on each connection, after which [`Goal::wait`]
    /// returns.
    pub fn set(&self, each: u64) {
        self.each.store(each, Ordering::SeqCst);
    }

    /// Takes in the message after `had` others of its connection. Returns `had` for
    /// the next one.
    #[inline]
    pub fn take(&self, had: u64, message: &[u8]) -> u64 {
        if !self.messages.is(had, message) {
            let len = message.len();
            self.tell(Err(format!("message {had} is another one, of {len} bytes")));
        }
        if had + 1 < self.each.load(Ordering::Relaxed) {
            return had + 1;
        }
        if self.finished.fetch_add(1, Ordering::SeqCst) + 1 == self.connections {
            self.finished.store(0, Ordering::SeqCst);
            self.tell(Ok(()));
        }
        0
    }

    /// Reports that it will not be reached.
    pub fn fail(&self, what: impl Into<String>) {
        self.tell(Err(what.into()));
    }

    /// Waits until everything has arrived on every connection.
    pub fn wait(&self) -> io::Result<()> {
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = outcomes
            .recv_timeout(PATIENCE)
            .map_err(|_| failed(format!("not everything arrived within {PATIENCE:?}")))?;
        outcome.map_err(failed)
    }

    #[cold]
    fn tell(&self, outcome: Result<(), String>) {
        // The send fails when the job is over.
        let _ = self.outcome.send(outcome);
    }
}

/// The asking side of round trips: what to send next, and how long each answer took.
pub struct Trips {
    messages: Messages,
    outstanding: u64,
    goal: u64,
    sent: u64,
    received: u64,
    begun: VecDeque<Instant>,
    nanos: Vec<u64>,
    wrong: Option<u64>,
}

impl Trips {
    pub fn new(size: usize, outstanding: u64) -> Self {
        Self {
            messages: Messages::of(size),
            outstanding,
            goal: 0,
            sent: 0,
            received: 0,
            begun: VecDeque::with_capacity(outstanding as usize),
            nanos: Vec::new(),
            wrong: None,
        }
    }

    /// From now on so many round trips are to be made.
    pub fn begin(&mut self, goal: u64) {
        self.goal = goal;
        self.sent = 0;
        self.received = 0;
        self.nanos.clear();
        self.nanos.reserve(goal as usize);
    }

    /// The next question, if one may be asked now. Its time begins here.
    #[inline]
    pub fn ask(&mut self) -> Option<&Bytes> {
        if self.sent == self.goal || self.begun.len() as u64 == self.outstanding {
            return None;
        }
        self.begun.push_back(Instant::now());
        self.sent += 1;
        Some(self.messages.get(self.sent - 1))
    }

    /// Takes in an answer.
    #[inline]
    pub fn take(&mut self, answer: &[u8]) {
        if !self.messages.is(self.received, answer) {
            self.wrong.get_or_insert(self.received);
        }
        if let Some(begun) = self.begun.pop_front() {
            self.nanos.push(begun.elapsed().as_nanos() as u64);
        }
        self.received += 1;
    }

    /// Whether all answers are there, or one was wrong.
    #[inline]
    pub fn over(&self) -> bool {
        self.received >= self.goal || self.wrong.is_some()
    }

    /// The latencies.
    pub fn values(&mut self) -> io::Result<Vec<Value>> {
        if let Some(wrong) = self.wrong {
            return Err(failed(format!("answer {wrong} is another one")));
        }
        if self.received != self.goal || self.nanos.len() as u64 != self.goal {
            let (received, goal) = (self.received, self.goal);
            return Err(failed(format!("{received} answers instead of {goal}")));
        }
        self.nanos.sort_unstable();
        let percentile = |percent: usize| self.nanos[(self.nanos.len() - 1) * percent / 100] as f64;
        Ok(vec![
            (Metric::Median, percentile(50)),
            (Metric::P99, percentile(99)),
        ])
    }
}

/// The message that travels to and fro in a line of nodes: how many traversals are
/// left, and how many hops there were.
#[derive(Clone, Copy)]
pub struct Baton {
    pub left: u64,
    pub hops: u64,
}

impl Baton {
    pub const LEN: usize = 16;

    pub fn begin(traversals: u64) -> Self {
        Self {
            left: traversals,
            hops: 0,
        }
    }

    pub fn encode(self) -> [u8; Self::LEN] {
        let mut message = [0; Self::LEN];
        message[..8].copy_from_slice(&self.left.to_be_bytes());
        message[8..].copy_from_slice(&self.hops.to_be_bytes());
        message
    }

    /// The baton after one more hop.
    pub fn receive(message: &[u8]) -> Option<Self> {
        let (left, hops) = message.split_first_chunk()?;
        Some(Self {
            left: u64::from_be_bytes(*left),
            hops: u64::from_be_bytes(hops.try_into().ok()?) + 1,
        })
    }

    /// The baton at an end of the line: on the way back, or `None` when it has run enough.
    pub fn turn_back(self) -> Option<Self> {
        let left = self.left.checked_sub(1).filter(|left| *left > 0)?;
        Some(Self { left, ..self })
    }

    /// Fails unless it was at every node.
    pub fn check(self, nodes: usize, traversals: u64) -> io::Result<()> {
        let expected = (nodes as u64 - 1) * traversals;
        if self.hops == expected {
            return Ok(());
        }
        let hops = self.hops;
        Err(failed(format!("{hops} hops instead of {expected}")))
    }
}
