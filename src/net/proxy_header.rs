//! Accepted connections whose PROXY header is incomplete.
//!
//! Such a connection has a reserved id, which is its token and the owner of its
//! handshake place, and which no program gets. When its header is complete, the
//! socket is deregistered and admitted like any other. Registering it again
//! reports the bytes after the header.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use super::{Due, Net};
use crate::cross_shard::AcceptedSocket;
use crate::id::ConnId;
use crate::mutants::mutant;
use crate::proxy_header::{HeaderProgress, KEPT_MAX, ProxyEnds, decode_header};
use crate::sys::Readiness;

/// Maximum number of bytes that one read skips.
const SKIPPED_MAX: usize = 4096;

/// The connections with an incomplete header, by slot.
#[derive(Debug, Default)]
pub(crate) struct PendingHeaders(BTreeMap<usize, PendingHeader>);

#[derive(Debug)]
struct PendingHeader {
    conn: ConnId,
    socket: AcceptedSocket,
    kept: [u8; KEPT_MAX],
    len: usize,
    progress: HeaderProgress,
    /// The slot of the timer that ends the wait.
    timer: Option<u32>,
    /// The connection is on the list of headers to read.
    is_scheduled: bool,
    /// The time has passed while the connection was on the list.
    is_overdue: bool,
}

impl PendingHeaders {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn contains(&self, conn: ConnId) -> bool {
        self.get(conn).is_some()
    }

    /// Returns whether a connection waits for bytes of its header.
    pub(super) fn is_silent(&self, conn: ConnId) -> bool {
        self.get(conn).is_some_and(|header| !header.is_scheduled)
    }

    /// Returns the ids, the sockets, and whether the headers are to be read.
    #[cfg(feature = "sim")]
    pub(crate) fn sockets(
        &self,
    ) -> impl Iterator<Item = (ConnId, crate::sys::sim::SocketId, bool)> + '_ {
        self.0.values().filter_map(|header| {
            let socket = header.socket.stream.sim_id()?;
            Some((header.conn, socket, header.is_scheduled))
        })
    }

    fn get(&self, conn: ConnId) -> Option<&PendingHeader> {
        let header = self.0.get(&conn.slot());
        header.filter(|header| header.conn == conn)
    }

    fn get_mut(&mut self, conn: ConnId) -> Option<&mut PendingHeader> {
        let header = self.0.get_mut(&conn.slot());
        header.filter(|header| header.conn == conn)
    }
}

impl PendingHeader {
    /// Reads until the header is complete or the socket is empty. Reads no byte
    /// after the header.
    fn read(&mut self) -> Result<Option<ProxyEnds>, HeaderError> {
        let mut skipped = [0; SKIPPED_MAX];
        loop {
            let room: &mut [u8] = match self.progress {
                HeaderProgress::Known { ends, rest: 0 } => return Ok(Some(ends)),
                HeaderProgress::Known { rest, .. } => &mut skipped[..rest.min(SKIPPED_MAX)],
                HeaderProgress::Incomplete(missing) => {
                    let room = &mut self.kept[self.len..];
                    let len = missing.min(room.len());
                    &mut room[..len]
                }
            };
            match self.socket.stream.read(room) {
                Ok(0) => return Err(HeaderError::Problem("the connection was closed")),
                Ok(count) => self.advance(count)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(HeaderError::Io(error)),
            }
        }
    }

    fn advance(&mut self, count: usize) -> Result<(), HeaderError> {
        if let HeaderProgress::Known { rest, .. } = &mut self.progress {
            *rest -= count;
            return Ok(());
        }
        self.len += count;
        self.progress = decode_header(&self.kept[..self.len])
            .map_err(|malformed| HeaderError::Problem(malformed.0))?;
        Ok(())
    }
}

enum HeaderError {
    Problem(&'static str),
    Io(io::Error),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(problem) => f.write_str(problem),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl Net {
    /// Begins to wait for the header of an accepted connection. Returns false
    /// if there is no place for it. `is_silent` returns whether a handshake of
    /// this shard waits for its peer.
    pub(crate) fn expect_header(
        &mut self,
        mut socket: AcceptedSocket,
        is_silent: &dyn Fn(ConnId) -> bool,
    ) -> io::Result<bool> {
        let Some(conn) = self.conns.reserve() else {
            self.metrics.refused_by_total += 1;
            return Ok(false);
        };
        let headers = &self.headers;
        let is_silent = |conn| is_silent(conn) || headers.is_silent(conn);
        let mut limits = self.limits.lock();
        let taken = limits.take_header_place(conn, socket.listener, self.now, &is_silent);
        drop(limits);
        let Ok(victim) = taken else {
            self.metrics.refused_by_handshakes += 1;
            self.conns.release(conn);
            return Ok(false);
        };
        self.evict_from_place(victim);
        let registered = self.registrar.add_stream(&mut socket.stream, conn.token());
        if let Err(error) = registered {
            self.limits.lock().places.give_back(conn);
            self.conns.release(conn);
            return Err(error);
        }
        let within = socket.config.timeouts.handshake;
        let timer = within.map(|within| self.arm_after(within, |_| Due::Header(conn)).0);
        let header = PendingHeader {
            conn,
            socket,
            kept: [0; KEPT_MAX],
            len: 0,
            progress: HeaderProgress::BEGIN,
            timer,
            is_scheduled: false,
            is_overdue: false,
        };
        self.headers.0.insert(conn.slot(), header);
        Ok(true)
    }

    /// Records an event that is for no connection.
    #[cold]
    pub(crate) fn note_header_event(&mut self, ready: Readiness) {
        let header = self.headers.0.get_mut(&ConnId::slot_of_token(ready.token));
        match header.filter(|header| header.conn.token() == ready.token) {
            Some(header) if ready.readable || ready.finished => {
                if !std::mem::replace(&mut header.is_scheduled, true) {
                    self.work.headers.push_back(header.conn);
                }
            }
            Some(_) => {}
            None => self.metrics.stale_events += 1,
        }
    }

    /// Reads a header. Returns its connection, with the addresses of the
    /// header, if the header is complete. Closes it after an error.
    pub(crate) fn read_header(&mut self, conn: ConnId) -> Option<AcceptedSocket> {
        let header = self.headers.get_mut(conn)?;
        header.is_scheduled = false;
        let problem = match header.read() {
            Ok(Some(ends)) => return self.complete_header(conn, ends),
            Ok(None) if !header.is_overdue => return None,
            Ok(None) => HeaderError::Problem("it has timed out"),
            Err(problem) => problem,
        };
        self.fail_header(conn, &problem);
        None
    }

    fn complete_header(&mut self, conn: ConnId, ends: ProxyEnds) -> Option<AcceptedSocket> {
        let mut socket = self.take_header(conn)?;
        socket.proxies = None;
        if let ProxyEnds::Relayed {
            source,
            destination,
        } = ends
        {
            mutant!(KeepAddressOfProxy => return Some(socket));
            socket.addr = source;
            socket.local_addr = Some(destination);
        }
        Some(socket)
    }

    /// Ends the wait for a header whose time has passed. Bytes that have arrived
    /// are read first.
    pub(crate) fn time_out_header(&mut self, conn: ConnId) {
        let Some(header) = self.headers.get_mut(conn) else {
            return;
        };
        header.timer = None;
        if header.is_scheduled {
            header.is_overdue = true;
        } else {
            self.fail_header(conn, &HeaderError::Problem("it has timed out"));
        }
    }

    fn fail_header(&mut self, conn: ConnId, error: &HeaderError) {
        self.metrics.proxy_header_errors += 1;
        if let Some(header) = self.headers.get(conn) {
            let (name, addr) = (&self.config.name, header.socket.addr);
            log::debug!(target: "peerloop", "{name}: PROXY header of {addr}: {error}");
        }
        self.discard_header(conn);
    }

    /// Closes a connection whose header is incomplete.
    pub(super) fn discard_header(&mut self, conn: ConnId) {
        if self.take_header(conn).is_some() {
            self.reject_accepted();
            self.resume_listeners();
        }
    }

    /// Closes all connections whose header is incomplete.
    pub(crate) fn discard_headers(&mut self) {
        while let Some((_, header)) = self.headers.0.first_key_value() {
            self.discard_header(header.conn);
        }
    }

    /// Stops waiting for a header, and returns the connection.
    fn take_header(&mut self, conn: ConnId) -> Option<AcceptedSocket> {
        self.headers.get(conn)?;
        let header = self.headers.0.remove(&conn.slot())?;
        if let Some(slot) = header.timer {
            self.timers.remove(slot);
        }
        self.limits.lock().places.give_back(conn);
        self.conns.release(conn);
        let mut socket = header.socket;
        if let Err(error) = self.registrar.remove_stream(&mut socket.stream) {
            let (name, addr) = (&self.config.name, socket.addr);
            log::debug!(target: "peerloop", "{name}: {addr}: deregistering: {error}");
        }
        Some(socket)
    }
}
