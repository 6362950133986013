//! The messages of the benchmarks, and the checks that each of them arrives.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use peerloop::Bytes;

use super::{PATIENCE, failed};

/// Number of different messages, after which they repeat. It is small, so that
/// large messages stay in the cache of the sender.
const KINDS: u64 = 8;

/// Longer messages are compared completely only at the beginning, because the
/// comparison would take much of the measured time.
const COMPARED_WHOLE: usize = 256;

/// An endless series of messages of one size, known to both ends.
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

    /// Returns the message of this number.
    #[inline]
    pub fn get(&self, number: u64) -> &Bytes {
        &self.kinds[(number % KINDS) as usize]
    }

    /// Returns whether this is the message of that number.
    #[inline]
    pub fn is(&self, number: u64, message: &[u8]) -> bool {
        let expected = self.get(number);
        if expected.len() <= COMPARED_WHOLE || number < 2 * KINDS {
            return expected == message;
        }
        same_ends(expected, message)
    }
}

/// Returns whether two slices have the same length, and the same bytes at both
/// ends.
#[inline]
pub fn same_ends(expected: &[u8], bytes: &[u8]) -> bool {
    let (len, end) = (expected.len(), expected.len().min(16));
    bytes.len() == len
        && bytes[..end] == expected[..end]
        && bytes[len - end..] == expected[len - end..]
}

/// The receiving end of a transfer: the messages that must arrive on each
/// connection.
pub struct Goal {
    messages: Messages,
    each: AtomicU64,
    connections: u64,
    finished: AtomicU64,
    outcome: Sender<Result<(), String>>,
    outcomes: Mutex<Receiver<Result<(), String>>>,
}

impl Goal {
    pub fn new(size: usize, connections: usize) -> Self {
        let (outcome, outcomes) = channel();
        Self {
            messages: Messages::of(size),
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

    /// Expects this many messages on each connection. [`Goal::wait`] returns
    /// after them.
    pub fn set(&self, each: u64) {
        self.each.store(each, Ordering::SeqCst);
    }

    /// Checks the message that arrived after `received` others of its
    /// connection. Returns the value of `received` for the next one.
    #[inline]
    pub fn take(&self, received: u64, message: &[u8]) -> u64 {
        if !self.messages.is(received, message) {
            let len = message.len();
            self.fail(format!("message {received} of {len} bytes is wrong"));
        }
        self.count(received)
    }

    /// Counts a message that was checked, as [`Goal::take`] does.
    #[inline]
    pub fn count(&self, received: u64) -> u64 {
        if received + 1 < self.each.load(Ordering::Relaxed) {
            return received + 1;
        }
        if self.finished.fetch_add(1, Ordering::SeqCst) + 1 == self.connections {
            self.finished.store(0, Ordering::SeqCst);
            self.report(Ok(()));
        }
        0
    }

    /// Makes [`Goal::wait`] fail.
    #[cold]
    pub fn fail(&self, text: impl Into<String>) {
        self.report(Err(text.into()));
    }

    /// Waits until all messages have arrived on all connections.
    pub fn wait(&self) -> io::Result<()> {
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = outcomes.recv_timeout(PATIENCE);
        let outcome = outcome.map_err(|_| failed("not all messages arrived in time"))?;
        outcome.map_err(failed)
    }

    fn report(&self, outcome: Result<(), String>) {
        // The receiver is dropped at the end of the job.
        let _ = self.outcome.send(outcome);
    }
}

/// The asking end of round trips: what to send next, and whether the answers
/// are right.
pub struct Trips {
    messages: Messages,
    outstanding: u64,
    goal: u64,
    sent: u64,
    received: u64,
    wrong: Option<u64>,
}

impl Trips {
    /// At most `outstanding` round trips are under way at a time.
    pub fn new(size: usize, outstanding: u64) -> Self {
        Self {
            messages: Messages::of(size),
            outstanding,
            goal: 0,
            sent: 0,
            received: 0,
            wrong: None,
        }
    }

    /// Begins a series of this many round trips.
    pub fn begin(&mut self, goal: u64) {
        (self.goal, self.sent, self.received) = (goal, 0, 0);
    }

    /// Returns the next question if it may be sent now.
    #[inline]
    pub fn ask(&mut self) -> Option<&Bytes> {
        if self.sent == self.goal || self.sent - self.received == self.outstanding {
            return None;
        }
        self.sent += 1;
        Some(self.messages.get(self.sent - 1))
    }

    /// Checks an answer.
    #[inline]
    pub fn take(&mut self, answer: &[u8]) {
        if !self.messages.is(self.received, answer) {
            self.wrong.get_or_insert(self.received);
        }
        self.received += 1;
    }

    /// Returns whether all answers have arrived, or one was wrong.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.received >= self.goal || self.wrong.is_some()
    }

    /// Fails if answers are missing or wrong.
    pub fn check(&self) -> io::Result<()> {
        let (received, goal) = (self.received, self.goal);
        match self.wrong {
            Some(wrong) => Err(failed(format!("answer {wrong} is wrong"))),
            None if received != goal => Err(failed(format!("{received} of {goal} answers"))),
            None => Ok(()),
        }
    }
}
