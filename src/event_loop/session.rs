//! From the wire through the session to the handler.

use std::net::SocketAddr;

use super::read::{deliver, keep};
use super::{EventLoop, InboundHalf};
use crate::buffers::PartialFrame;
use crate::connection::Lifecycle;
use crate::error::{ConnectError, DisconnectReason};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::mutants::mutant;
use crate::session::SessionChannel;
use crate::session::Stage;

/// What a step of the session brought.
#[derive(Default)]
struct Step {
    /// The first `lead` bytes are what was left of earlier messages.
    plaintext: Vec<u8>,
    lead: usize,
}

impl<H: Handler> EventLoop<'_, H> {
    /// The TCP connection is made: asks for a session, and opens the connection if there is none.
    pub(super) fn connected(&mut self, conn: ConnId, local_addr: SocketAddr) {
        self.net.begin_handshake(conn, local_addr);
        let session = self.call("session", Some(conn), |handler, net| {
            handler.session(net, conn)
        });
        // The handler may have given the connection up, or panicked.
        if !self.is_handshaking(conn) {
            return;
        }
        match session {
            Some(Ok(Some(session))) => {
                self.start_session(conn, SessionChannel::new(session, self.net.config.panics))
            }
            Some(Ok(None)) => self.opened(conn),
            Some(Err(error)) => self.net.fail(conn, ConnectError::Io(error.kind())),
            None => {}
        }
    }

    fn start_session(&mut self, conn: ConnId, mut secure: SessionChannel) {
        // An error is found with the session, below.
        let _ = secure.start();
        if let Some(inbound) = self.state.inbound(conn) {
            inbound.secure = Some(Box::new(secure));
        }
        self.net.arm(conn);
        self.follow(conn, &Step::default());
    }

    /// Passes what was just read through the session; `front` bytes that it had not taken lie before it.
    pub(super) fn received_sealed(&mut self, conn: ConnId, front: usize, count: usize) {
        if !self.is_handshaking(conn) && !self.is_open(conn) {
            return;
        }
        let (bytes, plaintext) = self.buffer.filled_and_plaintext(front + count);
        let step = match self.state.inbound(conn) {
            Some(inbound) => unseal(inbound, bytes, front, plaintext),
            None => return,
        };
        self.follow(conn, &step);
        self.buffer.put_plaintext(step.plaintext);
    }

    /// Does what follows from a step of the session, in the order in which it happened: the end of the handshake,
    /// messages, the peer's goodbye, a failure.
    fn follow(&mut self, conn: ConnId, step: &Step) {
        let Some(secure) = self.state.inbound(conn).and_then(|i| i.secure.as_ref()) else {
            return;
        };
        let (stage, has_failed) = (secure.stage(), secure.has_failed());
        self.net
            .note_session_output(conn, !secure.unwritten().is_empty());
        let is_agreed = match stage {
            Stage::Handshaking => false,
            Stage::Transparent => !has_failed,
            // An error came after the end of the handshake, which it only happened to arrive with.
            Stage::Established | Stage::Finished => true,
        };
        if is_agreed && self.is_handshaking(conn) {
            self.establish(conn, stage);
        }
        self.deliver_plaintext(conn, step);
        self.conclude(conn);
    }

    /// Ends the connection if its session has come to an end, by a failure or by the peer's goodbye. What a pause holds back
    /// is delivered before that.
    pub(super) fn conclude(&mut self, conn: ConnId) {
        let Some(inbound) = self.state.inbound(conn) else {
            return;
        };
        let Some(secure) = &inbound.secure else {
            return;
        };
        let Some(entry) = self.net.conns.get_mut(conn) else {
            return;
        };
        let (error, stage) = (secure.error(), secure.stage());
        if entry.paused && inbound.partial.len() > 0 && entry.lifecycle() == Lifecycle::Open {
            entry.sealing_failed |= error.is_some();
            return;
        }
        let is_news = entry.lifecycle() == Lifecycle::Open && !entry.peer_finished;
        if let Some(error) = error {
            log::debug!(target: "peerloop", "{}: {conn}: session: {error}", self.net.config.name);
            self.net.fail_session(conn, error);
        } else if stage == Stage::Finished && is_news {
            self.peer_finished(conn, None);
        }
    }

    /// The handshake is over. A session that stands in nobody's way any more goes; what it has still to say is sent
    /// before everything else.
    fn establish(&mut self, conn: ConnId, stage: Stage) {
        let Some(inbound) = self.state.inbound(conn) else {
            return;
        };
        let identity = match inbound.secure.as_mut().map(|secure| secure.identity()) {
            Some(Ok(identity)) => identity,
            Some(Err(error)) => return self.net.fail_session(conn, error),
            None => None,
        };
        let over = inbound.secure.take_if(|_| stage == Stage::Transparent);
        if let Some(secure) = over {
            self.net.note_session_output(conn, false);
            self.net.queue_bytes(conn, secure.unwritten());
        }
        if let Some(entry) = self.net.conns.get_mut(conn) {
            entry.set_identity(identity);
        }
        self.opened(conn);
    }

    fn opened(&mut self, conn: ConnId) {
        self.net.open(conn);
        self.call("on_connect", Some(conn), |handler, net| {
            handler.on_connect(net, conn)
        });
        self.flush_urgent();
    }

    fn is_open(&self, conn: ConnId) -> bool {
        let entry = self.net.conns.get(conn);
        entry.is_some_and(|entry| entry.lifecycle() == Lifecycle::Open)
    }

    fn deliver_plaintext(&mut self, conn: ConnId, step: &Step) {
        let fresh = &step.plaintext[step.lead..];
        if !self.is_open(conn) {
            return;
        }
        if fresh.is_empty() {
            // The beginning of a record is the beginning of a message.
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
        if !wants_messages || step.lead < inbound.partial.len() {
            inbound.partial.append(fresh);
            if wants_messages && inbound.partial.len() >= inbound.partial.need() {
                self.deliver_from_stash(conn);
            }
            return;
        }
        let need = inbound.partial.need();
        let (consumed, outcome) = deliver(state, net, *handler, conn, &step.plaintext, need);
        match keep(state, conn, &step.plaintext[consumed..], outcome) {
            Some(error) => self.refuse(conn, error.into()),
            None => self.note_read(conn, consumed),
        }
    }

    /// The stream has ended; whether it was allowed to, the session knows.
    pub(super) fn stream_ended(&mut self, conn: ConnId) {
        // Once this node closes, the session sees nothing of what arrives, a goodbye included.
        // After a failed write, that it was reset says more than that it ended.
        let entry = self.net.conns.get(conn);
        let is_broken = entry.is_some_and(|entry| entry.failure().is_some());
        let asks = !is_broken && (self.is_handshaking(conn) || self.is_open(conn));
        let secure = self.state.inbound(conn).and_then(|i| i.secure.as_mut());
        let secure = secure.filter(|_| asks);
        let cut_off = secure.and_then(|secure| secure.wire_ended().err());
        // It has failed and seals nothing any more: what is queued will not leave.
        if let (Some(_), Some(entry)) = (cut_off, self.net.conns.get_mut(conn)) {
            entry.sealing_failed = true;
        }
        self.peer_finished(conn, cut_off.map(DisconnectReason::Session));
    }
}

/// Has the session take what it can of `bytes`; `front` of them are what it had left.
fn unseal(inbound: &mut InboundHalf, bytes: &[u8], front: usize, mut plaintext: Vec<u8>) -> Step {
    let lead = if inbound.partial.is_short() {
        plaintext.extend_from_slice(inbound.partial.as_slice());
        plaintext.len()
    } else {
        0
    };
    let mut step = Step { plaintext, lead };
    let Some(secure) = &mut inbound.secure else {
        return step;
    };
    if secure.has_failed() || secure.stage() == Stage::Finished {
        return step;
    }
    let kept: PartialFrame;
    let mut bytes = bytes;
    if front < secure.wire.len() {
        secure.wire.append(bytes);
        kept = std::mem::take(&mut secure.wire);
        bytes = kept.as_slice();
    }
    let rest = match secure.receive(bytes, &mut step.plaintext) {
        Ok(taken) => &bytes[taken..],
        Err(_) => &[],
    };
    match secure.stage() {
        Stage::Transparent if mutant!(DropAfterHandshake) => {}
        Stage::Transparent => step.plaintext.extend_from_slice(rest),
        // What follows a goodbye is nobody's.
        Stage::Finished => {}
        Stage::Handshaking | Stage::Established => {
            secure.wire.replace(rest, 0);
            return step;
        }
    }
    secure.wire = PartialFrame::default();
    step
}
