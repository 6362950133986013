//! The transport of a new connection, and reading connections with a session.

use std::net::SocketAddr;

use super::{EventLoop, InboundHalf};
use crate::buffers::ReadBuffer;
use crate::connection::{ConnEntry, Ending, Lifecycle};
use crate::error::{ConnectError, TransportError};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::mutants::mutant;
use crate::panics::drop_contained;
use crate::session::{SessionChannel, Stage, Transport};

impl<H: Handler> EventLoop<'_, H> {
    /// Asks the handler for the transport of an established TCP connection.
    /// Opens the connection if the transport is plain.
    pub(super) fn start_transport(&mut self, half: &mut InboundHalf, local_addr: SocketAddr) {
        let conn = half.id;
        self.net.start_handshake(conn, local_addr);
        let Some(entry) = self.net.conns.get(conn) else {
            return;
        };
        let (info, require_session) = (entry.info(), entry.config.require_session);
        let transport = self.call_in_visit("transport", half, |handler, net| {
            // The error is a value of the program, so its code runs inside the
            // guarded call.
            handler.transport(net, conn, &info).map_err(|error| {
                let name = &net.config.name;
                log::debug!(target: "peerloop", "{name}: {conn}: transport: {error}");
            })
        });
        // The handler may have closed the connection, or panicked.
        if !self.is_handshaking(conn) {
            return drop_contained(transport);
        }
        let error = match transport {
            Some(Ok(Transport::Session(session))) => {
                let channel = SessionChannel::new(session, self.net.config.on_panic);
                return self.start_session(half, channel);
            }
            Some(Ok(Transport::Plain)) if require_session => TransportError::SessionRequired,
            Some(Ok(Transport::Plain)) => return self.report_connect(half),
            Some(Err(())) => TransportError::Handler,
            None => return,
        };
        self.net
            .fail_connection(conn, ConnectError::Transport(error));
    }

    fn start_session(&mut self, half: &mut InboundHalf, mut channel: SessionChannel) {
        let state = &*self.state;
        let is_silent = |conn| state.is_silent(conn);
        if !self.net.take_handshake_place(half.id, &is_silent) {
            return;
        }
        // The channel stores the error, and the step below handles it.
        let _ = channel.start();
        half.channel = Some(Box::new(channel));
        // The speed of the session is not known yet.
        half.reads_little = true;
        self.net.restart_deadline(half.id);
        self.net.clock.is_stale = true;
        self.apply_session_step(half, &[]);
    }

    /// Passes the bytes of a read through the session.
    pub(super) fn receive_sealed(&mut self, half: &mut InboundHalf, count: usize) {
        let lifecycle = self.net.conns.get(half.id).map(ConnEntry::lifecycle);
        let is_handshaking = lifecycle == Some(Lifecycle::Handshaking);
        if !is_handshaking && lifecycle != Some(Lifecycle::Open) {
            return;
        }
        let mut plaintext = self.buffer.take_plaintext();
        if unseal(half, self.buffer, count, &mut plaintext) && is_handshaking {
            self.net.note_handshake_step(half.id);
        }
        self.apply_session_step(half, &plaintext);
        if plaintext.is_empty() && self.is_open(half.id) {
            // An incomplete record counts as an incomplete message.
            self.note_read(half, 0);
        }
        self.buffer.put_plaintext(plaintext);
        // Decrypting may take long, even without a message. If it did, the next
        // read is small.
        self.net.clock.is_stale = true;
        self.net.look_at_visit();
        half.reads_little = self.net.visit.is_over;
    }

    /// Applies a step of the session, in this order: the end of the handshake,
    /// messages, the peer's close notification, a failure.
    pub(super) fn apply_session_step(&mut self, half: &mut InboundHalf, plaintext: &[u8]) {
        let conn = half.id;
        let Some(channel) = &half.channel else {
            return;
        };
        let (stage, has_failed) = (channel.stage(), channel.has_failed());
        self.net
            .note_session_output(conn, channel.unwritten().len(), channel.output_bytes());
        let is_complete = match stage {
            Stage::Handshaking => false,
            Stage::Transparent => !has_failed,
            // An error after the end of the handshake does not undo the
            // handshake, even if both arrived together.
            Stage::Established | Stage::Finished => true,
        };
        if is_complete && self.is_handshaking(conn) {
            self.complete_handshake(half, stage);
        }
        if !plaintext.is_empty() && self.is_open(conn) {
            self.deliver_plaintext(half, plaintext);
        }
        self.apply_session_end(half);
    }

    /// Ends the connection if its session has failed, or if the peer's close
    /// notification has arrived. Messages that were received before are
    /// delivered first.
    pub(super) fn apply_session_end(&mut self, half: &mut InboundHalf) {
        let conn = half.id;
        let Some(channel) = &mut half.channel else {
            return;
        };
        if let Some(timeout) = channel.take_timer_change() {
            self.net.set_session_timer(conn, timeout);
        }
        let Some(entry) = self.net.conns.get_mut(conn) else {
            return;
        };
        let (error, stage) = (channel.error(), channel.stage());
        if half.partial.is_undecoded() && entry.lifecycle() == Lifecycle::Open {
            entry.sealing_failed |= error.is_some();
            return;
        }
        let is_first = entry.lifecycle() == Lifecycle::Open && !entry.read_closed;
        if let Some(error) = error {
            log::debug!(target: "peerloop", "{}: {conn}: session: {error}", self.net.config.name);
            self.net.fail_session(conn, error);
        } else if stage == Stage::Finished && is_first {
            self.handle_read_closed(half, None);
        }
    }

    /// Completes the handshake. A transparent session is removed, and its last
    /// output is sent before any message.
    fn complete_handshake(&mut self, half: &mut InboundHalf, stage: Stage) {
        let (conn, channel) = (half.id, half.channel.as_mut());
        let identity = match channel.map(|channel| channel.take_identity()) {
            Some(Ok(identity)) => identity,
            Some(Err(error)) => return self.net.fail_session(conn, error),
            None => None,
        };
        let removed = half.channel.take_if(|_| stage == Stage::Transparent);
        if let Some(channel) = removed {
            self.net.note_session_output(conn, 0, 0);
            self.net.queue_session_output(conn, channel.unwritten());
            self.net.set_session_timer(conn, None);
        }
        if let Some(entry) = self.net.conns.get_mut(conn) {
            entry.set_sealed(stage != Stage::Transparent);
            entry.set_identity(identity);
        }
        self.report_connect(half);
    }

    fn report_connect(&mut self, half: &mut InboundHalf) {
        let conn = half.id;
        self.net.open_connection(conn);
        self.call_in_visit("on_connect", half, |handler, net| {
            handler.on_connect(net, conn)
        });
        if !self.net.waiters.is_empty() {
            let lifecycle = self.net.conns.get(conn).map(ConnEntry::lifecycle);
            let outcome = match lifecycle {
                Some(Lifecycle::Ended(Ending::Disconnected(reason))) => Err(reason.into()),
                _ => Ok(conn),
            };
            self.net.answer_connect(conn, outcome);
        }
    }

    pub(super) fn is_open(&self, conn: ConnId) -> bool {
        let entry = self.net.conns.get(conn);
        entry.is_some_and(|entry| entry.lifecycle() == Lifecycle::Open)
    }
}

/// Passes the first `count` bytes of the buffer to the session, after the bytes
/// that the session did not take before. Returns whether the session took bytes
/// or answered.
pub(super) fn unseal(
    half: &mut InboundHalf,
    buffer: &mut ReadBuffer,
    count: usize,
    plaintext: &mut Vec<u8>,
) -> bool {
    let Some(channel) = &mut half.channel else {
        return false;
    };
    if channel.has_failed() || channel.stage() == Stage::Finished {
        return false;
    }
    let answers = channel.answers();
    // The shorter part is copied, so that a record that arrives in many pieces
    // is not copied with each of them. Bytes that are copied to the front of
    // the buffer may be copied back.
    let mut wire = std::mem::take(&mut channel.wire);
    let joined = if wire.len() <= count / 4 {
        buffer.filled_after(wire.as_slice(), count)
    } else {
        None
    };
    let Some(bytes) = joined else {
        wire.append(buffer.filled(count));
        let taken = receive(channel, wire.as_mut_slice(), plaintext);
        if let Some(taken) = taken {
            wire.consume(taken, 0);
            channel.wire = wire;
        }
        return taken != Some(0) || channel.answers() > answers;
    };
    let taken = receive(channel, bytes, plaintext);
    if let Some(taken) = taken {
        wire.replace(&bytes[taken..], 0);
        channel.wire = wire;
    }
    taken != Some(0) || channel.answers() > answers
}

/// Passes bytes to the session. Returns the number of bytes that it took, or
/// `None` if it takes no more.
fn receive(
    channel: &mut SessionChannel,
    bytes: &mut [u8],
    plaintext: &mut Vec<u8>,
) -> Option<usize> {
    let taken = channel.receive(bytes, plaintext).ok();
    let rest = taken.map_or(&[][..], |taken| &bytes[taken..]);
    match channel.stage() {
        Stage::Handshaking | Stage::Established => return Some(taken.unwrap_or(bytes.len())),
        // The bytes after the handshake are plaintext.
        Stage::Transparent => {
            plaintext.extend_from_slice(rest);
            mutant!(DropAfterHandshake => plaintext.truncate(plaintext.len() - rest.len()));
        }
        // Bytes after the close notification are discarded.
        Stage::Finished => {}
    }
    None
}
