//! The transport of a new connection, and reading connections with a session.

use std::net::SocketAddr;

use super::read::{deliver, keep_rest};
use super::{EventLoop, InboundHalf};
use crate::buffers::PartialFrame;
use crate::connection::{ConnEntry, Ending, Lifecycle};
use crate::error::{ConnectError, TransportError};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::mutants::mutant;
use crate::session::{SessionChannel, Stage, Transport};

/// The plaintext of one call of the session.
#[derive(Default)]
struct Received {
    /// The first `partial_len` bytes are the kept part of an incomplete
    /// message.
    plaintext: Vec<u8>,
    partial_len: usize,
}

impl<H: Handler> EventLoop<'_, H> {
    /// Asks the handler for the transport of a TCP connection that is
    /// established. Opens the connection if it is plain.
    pub(super) fn start_transport(&mut self, conn: ConnId, local_addr: SocketAddr) {
        self.net.start_handshake(conn, local_addr);
        let Some(entry) = self.net.conns.get(conn) else {
            return;
        };
        let (info, require_session) = (entry.info(), entry.config.require_session);
        let transport = self.call("transport", Some(conn), |handler, net| {
            handler.transport(net, conn, &info)
        });
        // The handler may have closed the connection, or panicked.
        if !self.is_handshaking(conn) {
            return;
        }
        let error = match transport {
            Some(Ok(Transport::Session(session))) => {
                let channel = SessionChannel::new(session, self.net.config.on_panic);
                return self.start_session(conn, channel);
            }
            Some(Ok(Transport::Plain)) if require_session => TransportError::SessionRequired,
            Some(Ok(Transport::Plain)) => return self.report_connect(conn),
            Some(Err(error)) => {
                let name = &self.net.config.name;
                log::debug!(target: "peerloop", "{name}: {conn}: transport: {error}");
                TransportError::Handler
            }
            None => return,
        };
        self.net
            .fail_connection(conn, ConnectError::Transport(error));
    }

    fn start_session(&mut self, conn: ConnId, mut channel: SessionChannel) {
        let state = &*self.state;
        let is_silent = |conn| state.is_silent(conn);
        if !self.net.take_handshake_place(conn, &is_silent) {
            return;
        }
        // The channel keeps the error, and the step below handles it.
        let _ = channel.start();
        if let Some(inbound) = self.state.inbound(conn) {
            inbound.channel = Some(Box::new(channel));
        }
        self.net.arm_deadline(conn);
        self.apply_session_step(conn, &Received::default());
    }

    /// Passes a read through the session. The session had not taken the first
    /// `front` bytes of the buffer before.
    pub(super) fn receive_sealed(&mut self, conn: ConnId, front: usize, count: usize) {
        if !self.is_handshaking(conn) && !self.is_open(conn) {
            return;
        }
        let (bytes, plaintext) = self.buffer.filled_and_plaintext(front + count);
        let received = match self.state.inbound(conn) {
            Some(inbound) => unseal(inbound, bytes, front, plaintext),
            None => return,
        };
        self.net.note_handshake_step(conn);
        self.apply_session_step(conn, &received);
        self.buffer.put_plaintext(received.plaintext);
    }

    /// Applies a step of the session in its order: the end of the handshake,
    /// messages, the peer's close notification, a failure.
    fn apply_session_step(&mut self, conn: ConnId, received: &Received) {
        let Some(channel) = self.state.inbound(conn).and_then(|i| i.channel.as_ref()) else {
            return;
        };
        let (stage, has_failed) = (channel.stage(), channel.has_failed());
        self.net
            .note_session_output(conn, !channel.unwritten().is_empty());
        let is_complete = match stage {
            Stage::Handshaking => false,
            Stage::Transparent => !has_failed,
            // An error after the end of the handshake does not undo it, even if
            // both arrived together.
            Stage::Established | Stage::Finished => true,
        };
        if is_complete && self.is_handshaking(conn) {
            self.complete_handshake(conn, stage);
        }
        self.deliver_plaintext(conn, received);
        self.apply_session_end(conn);
    }

    /// Ends the connection if its session has failed, or if the peer's close
    /// notification has arrived. Messages that a pause holds back are delivered
    /// first.
    pub(super) fn apply_session_end(&mut self, conn: ConnId) {
        let Some(inbound) = self.state.inbound(conn) else {
            return;
        };
        let Some(channel) = &inbound.channel else {
            return;
        };
        let Some(entry) = self.net.conns.get_mut(conn) else {
            return;
        };
        let (error, stage) = (channel.error(), channel.stage());
        if entry.paused && inbound.partial.len() > 0 && entry.lifecycle() == Lifecycle::Open {
            entry.sealing_failed |= error.is_some();
            return;
        }
        let is_first = entry.lifecycle() == Lifecycle::Open && !entry.read_closed;
        if let Some(error) = error {
            log::debug!(target: "peerloop", "{}: {conn}: session: {error}", self.net.config.name);
            self.net.fail_session(conn, error);
        } else if stage == Stage::Finished && is_first {
            self.handle_read_closed(conn, None);
        }
    }

    /// Completes the handshake. A transparent session is removed, and its last
    /// output is sent before any message.
    fn complete_handshake(&mut self, conn: ConnId, stage: Stage) {
        let Some(inbound) = self.state.inbound(conn) else {
            return;
        };
        let identity = match inbound.channel.as_mut().map(|channel| channel.identity()) {
            Some(Ok(identity)) => identity,
            Some(Err(error)) => return self.net.fail_session(conn, error),
            None => None,
        };
        let removed = inbound.channel.take_if(|_| stage == Stage::Transparent);
        if let Some(channel) = removed {
            self.net.note_session_output(conn, false);
            self.net.queue_session_output(conn, channel.unwritten());
        }
        if let Some(entry) = self.net.conns.get_mut(conn) {
            entry.set_identity(identity);
        }
        self.report_connect(conn);
    }

    fn report_connect(&mut self, conn: ConnId) {
        self.net.open_connection(conn);
        self.call("on_connect", Some(conn), |handler, net| {
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

    fn deliver_plaintext(&mut self, conn: ConnId, received: &Received) {
        let new_bytes = &received.plaintext[received.partial_len..];
        if !self.is_open(conn) {
            return;
        }
        if new_bytes.is_empty() {
            // An incomplete record counts as an incomplete message.
            return self.note_read(conn, 0);
        }
        let wants_messages = self.wants_messages(conn);
        let Self {
            state,
            net,
            handler,
            ..
        } = self;
        let Some(inbound) = state.inbound(conn) else {
            return;
        };
        if !wants_messages || received.partial_len < inbound.partial.len() {
            inbound.partial.append(new_bytes);
            if wants_messages && inbound.partial.len() >= inbound.partial.need() {
                self.deliver_partial(conn);
            }
            return;
        }
        let need = inbound.partial.need();
        let (consumed, outcome) = deliver(state, net, *handler, conn, &received.plaintext, need);
        match keep_rest(state, conn, &received.plaintext[consumed..], outcome) {
            Some(error) => self.end_malformed(conn, error.into()),
            None => self.note_read(conn, consumed),
        }
    }
}

/// Passes `bytes` to the session, of which it had not taken the first `front`.
fn unseal(
    inbound: &mut InboundHalf,
    bytes: &mut [u8],
    front: usize,
    mut plaintext: Vec<u8>,
) -> Received {
    let partial_len = if inbound.partial.is_short() {
        plaintext.extend_from_slice(inbound.partial.as_slice());
        plaintext.len()
    } else {
        0
    };
    let mut received = Received {
        plaintext,
        partial_len,
    };
    let Some(channel) = &mut inbound.channel else {
        return received;
    };
    if channel.has_failed() || channel.stage() == Stage::Finished {
        return received;
    }
    let mut kept: PartialFrame;
    let mut bytes = bytes;
    if front < channel.wire.len() {
        channel.wire.append(bytes);
        kept = std::mem::take(&mut channel.wire);
        bytes = kept.as_mut_slice();
    }
    let rest: &[u8] = match channel.receive(bytes, &mut received.plaintext) {
        Ok(taken) => &bytes[taken..],
        Err(_) => &[],
    };
    match channel.stage() {
        Stage::Transparent => {
            received.plaintext.extend_from_slice(rest);
            mutant!(DropAfterHandshake => received.plaintext.truncate(received.plaintext.len() - rest.len()));
        }
        // Bytes after the close notification are discarded.
        Stage::Finished => {}
        Stage::Handshaking | Stage::Established => {
            channel.wire.replace(rest, 0);
            return received;
        }
    }
    channel.wire = PartialFrame::default();
    received
}
