//! A record of the events of a world.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Number of lines that are always kept, for the message of a failed check.
const RECENT_MAX: usize = 64;

/// The subject of a line of the trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Actor {
    Network,
    Node(usize),
    Wire(u64),
}

/// One line of a [`Trace`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TraceEntry {
    pub(crate) at: Duration,
    pub(crate) actor: Actor,
    pub(crate) what: &'static str,
    /// A socket, a connection or a key, depending on `what`.
    pub(crate) subject: u64,
    pub(crate) detail: u64,
}

/// The events of the network and the callbacks of the nodes so far, one line
/// each.
///
/// The hash covers all lines. All lines are kept after
/// [`World::keep_trace`](crate::sim::World::keep_trace). Before it, only the
/// last 64 lines are kept. Two equal runs have equal traces, byte for byte.
///
/// A line has a time in seconds, an actor, an event, a hexadecimal number and a
/// decimal number:
///
/// ```text
/// 0.002000000 net established 3 4                   sockets 3 and 4 are connected
/// 0.002000000 n1 on_connect 100000000 0             node 1, connection 0.1
/// 0.300000000 n0 write 4 11                         11 bytes into socket 4
/// 0.301000000 net data 3 11                         they arrive at socket 3
/// 0.301000000 n1 ready 100000000 3                  readable (1) and writable (2)
/// 0.301000000 n1 read 3 11
/// 0.301000000 n1 on_message 100000000 101587808809  a hash of the message
/// 0.500000000 n1 on_timer 2 0                       a timer of node 1, and its key
/// 0.905000000 w5 write 5 5                          a scripted peer, by its socket
/// ```
///
/// The actor is `net`, the network; `n1`, the second node; or `w5`, a scripted
/// peer. The last eight hexadecimal digits of a connection are its slot, and those
/// before them its generation: `100000002` is the
/// [`ConnId`](crate::ConnId) that is displayed as `2.1`.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: u64,
    len: u64,
    recent: VecDeque<TraceEntry>,
    /// All lines, if they are kept.
    all: Option<Vec<TraceEntry>>,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            len: 0,
            recent: VecDeque::with_capacity(RECENT_MAX),
            all: None,
        }
    }

    /// Returns the hash of all lines, including lines that were not kept.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Returns the number of lines, including lines that were not kept.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there are no lines yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn keep_all(&mut self) {
        self.all.get_or_insert_default();
    }

    pub(crate) fn push(&mut self, entry: TraceEntry) {
        self.len += 1;
        let actor = match entry.actor {
            Actor::Network => 0,
            Actor::Node(index) => 1 + 2 * index as u64,
            Actor::Wire(id) => 2 + 2 * id,
        };
        let at = entry.at.as_nanos() as u64;
        for word in [at, actor, entry.subject, entry.detail] {
            self.hash = mix(self.hash, word);
        }
        for byte in entry.what.bytes() {
            self.hash = mix(self.hash, u64::from(byte));
        }
        if let Some(all) = &mut self.all {
            all.push(entry);
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(entry);
    }

    fn entries(&self) -> impl Iterator<Item = &TraceEntry> {
        let all = self.all.iter().flatten();
        let recent = self.recent.iter().filter(|_| self.all.is_none());
        all.chain(recent)
    }

    /// Returns the last lines, at most `lines` of them.
    pub(crate) fn tail(&self, lines: usize) -> String {
        let skipped = self.recent.len().saturating_sub(lines);
        let tail = self.recent.iter().skip(skipped);
        tail.map(|entry| format!("  {entry}\n")).collect()
    }
}

/// Writes the kept lines.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl fmt::Display for TraceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.at.as_secs(), self.at.subsec_nanos());
        write!(f, "{seconds}.{nanos:09} ")?;
        match self.actor {
            Actor::Network => f.write_str("net")?,
            Actor::Node(index) => write!(f, "n{index}")?,
            Actor::Wire(id) => write!(f, "w{id}")?,
        }
        write!(f, " {} {:x} {}", self.what, self.subject, self.detail)
    }
}

/// Returns the hash after one more word: FNV-1a over words, with the high bits
/// folded into the low bits.
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    mixed ^ (mixed >> 29)
}

/// Returns the hash of `bytes`.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    let mut hash = bytes.len() as u64;
    for word in &mut words {
        hash = mix(
            hash,
            word.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        );
    }
    words
        .remainder()
        .iter()
        .fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}
