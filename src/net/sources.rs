//! Sources of the program: readiness of what the library does not own.

use std::collections::VecDeque;
use std::io;

use slab::Slab;

use super::Net;
use crate::id::SourceId;
use crate::sys::{Interest, Readiness, Source};

/// The sources of a loop, and the list of ready ones.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    entries: Slab<SourceEntry>,
    /// Sources to report, each once. A deregistered source stays on the list
    /// until its turn comes.
    ready: VecDeque<SourceId>,
}

#[derive(Debug)]
struct SourceEntry {
    id: SourceId,
    /// The readiness to report. It is on the list of ready sources.
    ready: Option<Readiness>,
}

impl Sources {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes the next source to report.
    pub(crate) fn next_ready(&mut self) -> Option<(SourceId, Readiness)> {
        loop {
            let id = self.ready.pop_front()?;
            let entry = self.entries.get_mut(id.slot());
            let entry = entry.filter(|entry| entry.id == id);
            if let Some(readiness) = entry.and_then(|entry| entry.ready.take()) {
                return Some((id, readiness));
            }
        }
    }

    fn check(&self, id: SourceId) -> io::Result<()> {
        let entry = self.entries.get(id.slot());
        match entry.filter(|entry| entry.id == id) {
            Some(_) => Ok(()),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the source is not registered with this loop",
            )),
        }
    }
}

impl Net {
    /// Registers a source of the program with the loop, and returns its id.
    /// From then on [`Handler::on_ready`](crate::Handler::on_ready) is called
    /// when the source is ready.
    ///
    /// A source is, for example, a pipe, the output of a child, a serial port,
    /// a Unix domain socket or a signalfd. The program owns it, and reads and
    /// writes it. The types of [`mio::net`] and `mio::unix::pipe` are sources,
    /// and crates have more of them.
    ///
    /// [`peerloop::mio`](crate::mio) is the crate that the library uses, with
    /// the features `os-poll` and `net`. Its major version is a part of the
    /// interface. For `mio::unix`, add mio with the feature `os-ext` to the
    /// dependencies of the program.
    ///
    /// # Events
    ///
    /// - The source must be non-blocking.
    /// - Events are edges, as in mio. Read until `WouldBlock` or the end, and
    ///   write until `WouldBlock` or until there is nothing to write. Otherwise
    ///   no further event may come.
    /// - To do only a part, call [`Net::reregister`]. A source that is still
    ///   ready is then reported again in the next turn. Do so after a bounded
    ///   number of bytes if the source can be filled faster than it is read,
    ///   because the loop does nothing else in the meantime.
    /// - A source that is ready when it is registered is reported in the next
    ///   turn.
    /// - With poll(2) and on Windows, mio emulates edges in the calls of mio's
    ///   types. After `WouldBlock` from another source, such as
    ///   `mio::unix::SourceFd`, call [`Net::reregister`].
    ///
    /// # In a turn
    ///
    /// Each source is reported at most once per turn, after the messages and
    /// before the commands of other threads. All sources together have a
    /// quarter of
    /// [`max_turn_time`](crate::config::TurnBudget::max_turn_time). The others
    /// are reported in the next turn. At least one is reported per turn.
    ///
    /// After a contained panic in `on_ready` the source is still registered. A
    /// registered source does not keep a node running that was shut down. It
    /// belongs to the [shard](crate::shards) of this `Net`.
    ///
    /// # Closing
    ///
    /// Call [`Net::deregister`] before the source is dropped, or registered
    /// with another node. A source that is closed without it is not reported
    /// any more, with two exceptions:
    ///
    /// - With epoll(7), a descriptor that has a duplicate is reported until the
    ///   last duplicate is closed. A child process has duplicates, at least
    ///   until it executes its program.
    /// - With poll(2), mio's types remove themselves when they are dropped. Any
    ///   other descriptor stays registered. It is reported in each turn, and the
    ///   loop never sleeps, until the system gives the number to another file.
    ///   If that is a socket of the node, it cannot be registered, and its
    ///   connection fails with `AlreadyExists`. The library cannot repair this,
    ///   because it does not know the descriptor.
    ///
    /// The id of such a source stays in the table of the loop.
    ///
    /// # Errors
    ///
    /// - The error of mio or of the system, such as `AlreadyExists` if the
    ///   source is registered, or `PermissionDenied` for a regular file with
    ///   epoll(7). kqueue(2) does not report a second registration, except with
    ///   debug assertions. The last one applies;
    /// - `QuotaExceeded` if 16,777,216 sources are registered;
    /// - `Other` after [`Net::shutdown`];
    /// - `Unsupported` in the simulator.
    ///
    /// # Examples
    ///
    /// Sends the output of a child to all peers:
    ///
    /// ```
    /// # #[cfg(unix)]
    /// # mod example {
    /// use std::io::{self, ErrorKind, Read};
    /// use std::process::{Command, Stdio};
    /// use std::time::Duration;
    ///
    /// use peerloop::mio::Interest;
    /// use peerloop::mio::unix::pipe;
    /// use peerloop::{Config, ConnId, Handler, Net, Node, Readiness, SourceId};
    ///
    /// struct Relay {
    ///     output: pipe::Receiver,
    /// }
    ///
    /// impl Handler for Relay {
    ///     fn on_ready(&mut self, net: &mut Net, source: SourceId, _: Readiness) {
    ///         let mut buffer = [0; 4096];
    ///         loop {
    ///             match self.output.read(&mut buffer) {
    ///                 Ok(count) if count > 0 => {
    ///                     let _ = net.broadcast_all(&buffer[..count], None);
    ///                 }
    ///                 Err(error) if error.kind() == ErrorKind::WouldBlock => return,
    ///                 Err(error) if error.kind() == ErrorKind::Interrupted => {}
    ///                 _ => break, // The end, or an error.
    ///             }
    ///         }
    ///         let _ = net.deregister(source, &mut self.output);
    ///         net.shutdown(Duration::from_secs(1));
    ///     }
    /// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    ///
    /// # pub
    /// fn main() -> io::Result<()> {
    ///     let mut child = Command::new("date").stdout(Stdio::piped()).spawn()?;
    ///     let output = pipe::Receiver::from(child.stdout.take().expect("it is piped"));
    ///     output.set_nonblocking(true)?;
    ///
    ///     let mut node = Node::new(Config::default(), Relay { output })?;
    ///     node.with(|relay, net| net.register(&mut relay.output, Interest::READABLE))?;
    ///     node.net().listen("127.0.0.1:0")?;
    ///     node.run()?;
    ///     child.wait()?;
    ///     Ok(())
    /// }
    /// # }
    /// # #[cfg(unix)]
    /// # example::main().unwrap();
    /// ```
    pub fn register(
        &mut self,
        source: &mut (impl Source + ?Sized),
        interest: Interest,
    ) -> io::Result<SourceId> {
        if self.stopping.is_some() {
            return Err(io::Error::other("the node is shutting down"));
        }
        let slot = self.sources.entries.vacant_entry();
        let id = SourceId::next(slot.key()).ok_or(io::ErrorKind::QuotaExceeded)?;
        self.registrar.add_source(source, id.token(), interest)?;
        slot.insert(SourceEntry { id, ready: None });
        Ok(id)
    }

    /// Changes the interest in a source, and reports the source again if it is
    /// ready. Its id stays the same.
    ///
    /// The source must be the one that was registered with this id. Otherwise
    /// the events of the other source are reported with this id.
    ///
    /// # Errors
    ///
    /// - `NotFound` if the id is not from this `Net`, or the source was
    ///   deregistered. The ids of other shards and nodes are never found;
    /// - the error of mio or of the system, such as `NotFound` for a source that
    ///   is not registered.
    pub fn reregister(
        &mut self,
        id: SourceId,
        source: &mut (impl Source + ?Sized),
        interest: Interest,
    ) -> io::Result<()> {
        self.sources.check(id)?;
        self.registrar.change_source(source, id.token(), interest)
    }

    /// Ends the registration of a source. No `on_ready` follows for its id, even
    /// if an event has arrived. Afterwards the source can be dropped, or
    /// registered elsewhere.
    ///
    /// # Errors
    ///
    /// - `NotFound` if the id is not from this `Net`, or the source was
    ///   deregistered before. Then this is a no-op;
    /// - the error of mio or of the system, such as `NotFound` for a source that
    ///   is not registered. The id is stale nevertheless.
    pub fn deregister(
        &mut self,
        id: SourceId,
        source: &mut (impl Source + ?Sized),
    ) -> io::Result<()> {
        self.sources.check(id)?;
        self.sources.entries.remove(id.slot());
        self.registrar.remove_source(source)
    }

    /// Records an event with the token of a source.
    pub(crate) fn note_source(&mut self, slot: usize, event: Readiness) {
        let entry = self.sources.entries.get_mut(slot);
        let Some(entry) = entry.filter(|entry| entry.id.token() == event.token) else {
            self.metrics.stale_events += 1;
            return;
        };
        match &mut entry.ready {
            Some(ready) => *ready = ready.or(event),
            None => {
                entry.ready = Some(event);
                self.sources.ready.push_back(entry.id);
            }
        }
    }
}
