//! The state of a node's poller.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::event::SocketId;

/// An entry of a poller's ready list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReadyKey {
    Socket(SocketId),
    Listener(SocketId),
    Udp(SocketId),
    /// The token of a closed socket.
    Stale(usize),
    Waker,
}

#[cfg(unix)]
const EMFILE: i32 = libc::EMFILE;
#[cfg(unix)]
const ENFILE: i32 = libc::ENFILE;
// On other systems no code reads the numbers.
#[cfg(not(unix))]
const EMFILE: i32 = 24;
#[cfg(not(unix))]
const ENFILE: i32 = 23;

/// A resource that a process has run out of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shortage {
    /// EMFILE
    ProcessDescriptors,
    /// ENFILE
    SystemDescriptors,
    /// ENOMEM
    Memory,
}

impl Shortage {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::ProcessDescriptors => io::Error::from_raw_os_error(EMFILE),
            Self::SystemDescriptors => io::Error::from_raw_os_error(ENFILE),
            Self::Memory => io::ErrorKind::OutOfMemory.into(),
        }
    }
}

#[derive(Debug)]
pub(super) struct PollerState {
    pub(super) host: IpAddr,
    /// Number of the node in traces.
    pub(super) name: usize,
    /// Entries with an edge since their last report, each once.
    ready: Vec<ReadyKey>,
    /// Token of the waker.
    pub(super) waker: Option<usize>,
    /// Time of the node's next turn, if one is wanted.
    pub(super) wanted: Option<Duration>,
    /// End of the node's current turn.
    pub(super) free_at: Duration,
    /// Time of the node at the return of its last callback.
    pub(super) busy_until: Duration,
    /// The next turn was delayed once, and is not delayed again.
    pub(super) was_delayed: bool,
    /// The node no longer exists.
    is_removed: bool,
    /// Resource that the process lacks, and the end of the shortage.
    pub(super) shortage: Option<(Duration, Shortage)>,
}

impl PollerState {
    pub(super) fn new(host: IpAddr, name: usize) -> Self {
        Self {
            host,
            name,
            ready: Vec::new(),
            waker: None,
            wanted: None,
            free_at: Duration::ZERO,
            busy_until: Duration::ZERO,
            was_delayed: false,
            is_removed: false,
            shortage: None,
        }
    }

    pub(super) fn is_removed(&self) -> bool {
        self.is_removed
    }

    pub(super) fn remove(&mut self) {
        self.is_removed = true;
        self.ready.clear();
    }

    /// Adds an entry to the list. Returns whether the node exists.
    pub(super) fn report(&mut self, key: ReadyKey) -> bool {
        if !self.is_removed {
            self.ready.push(key);
        }
        !self.is_removed
    }

    pub(super) fn has_reports(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn is_reported(&self, key: ReadyKey) -> bool {
        self.ready.contains(&key)
    }

    pub(super) fn forget(&mut self, key: ReadyKey) {
        self.ready.retain(|other| *other != key);
    }

    pub(super) fn take_ready(&mut self) -> Vec<ReadyKey> {
        std::mem::take(&mut self.ready)
    }

    /// Puts back the entries that a wait does not return.
    pub(super) fn put_back(&mut self, ready: Vec<ReadyKey>) {
        self.ready = ready;
    }
}
