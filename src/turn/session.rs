//! From the wire through the session to the handler.

use std::net::SocketAddr;

use super::read::{deliver, keep};
use super::{Driver, Inbound};
use crate::buffer::Stash;
use crate::error::{ConnectError, DisconnectReason};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::peer::State;
use crate::planted::planted;
use crate::secure::Secure;
use crate::session::Stage;

/// What a step of the session brought.
#[derive(Default)]
struct Step {
    /// The first `lead` bytes are what was left of earlier messages.
    plaintext: Vec<u8>,
    lead: usize,
}

impl<H: Handler> Driver<'_, H> {
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
                self.start_session(conn, Secure::new(session, self.net.config.panics))
            }
            Some(Ok(None)) => self.opened(conn),
            Some(Err(error)) => self.net.fail(conn, ConnectError::Io(error.kind())),
            None => {}
        }
    }

    fn start_session(&mut self, conn: ConnId, mut secure: Secure) {
        // An error is found with the session, below.
        let _ = secure.start();
        if let Some(inbound) = self.core.inbound(conn) {
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
        let step = match self.core.inbound(conn) {
            Some(inbound) => unseal(inbound, bytes, front, plaintext),
            None => return,
        };
        self.follow(conn, &step);
        self.buffer.put_plaintext(step.plaintext);
    }

    /// Does what follows from a step of the session, in the order in which it happened: the end of the handshake,
    /// messages, the peer's goodbye, a failure.
    fn follow(&mut self, conn: ConnId, step: &Step) {
        let Some(secure) = self.core.inbound(conn).and_then(|i| i.secure.as_ref()) else {
            return;
        };
        let (stage, has_failed) = (secure.stage(), secure.has_failed());
        self.net.note_speech(conn, !secure.unwritten().is_empty());
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
        let Some(inbound) = self.core.inbound(conn) else {
            return;
        };
        let Some(secure) = &inbound.secure else {
            return;
        };
        let Some(peer) = self.net.peers.get_mut(conn) else {
            return;
        };
        let (error, stage) = (secure.error(), secure.stage());
        if peer.paused && inbound.stash.len() > 0 && peer.inner_state() == State::Open {
            peer.sealed_off |= error.is_some();
            return;
        }
        let is_news = peer.inner_state() == State::Open && !peer.peer_finished;
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
        let Some(inbound) = self.core.inbound(conn) else {
            return;
        };
        let identity = match inbound.secure.as_mut().map(|secure| secure.identity()) {
            Some(Ok(identity)) => identity,
            Some(Err(error)) => return self.net.fail_session(conn, error),
            None => None,
        };
        let over = inbound.secure.take_if(|_| stage == Stage::Transparent);
        if let Some(secure) = over {
            self.net.note_speech(conn, false);
            self.net.queue_bytes(conn, secure.unwritten());
        }
        if let Some(peer) = self.net.peers.get_mut(conn) {
            peer.set_identity(identity);
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
        let peer = self.net.peers.get(conn);
        peer.is_some_and(|peer| peer.inner_state() == State::Open)
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
            core, net, handler, ..
        } = self;
        let Some(inbound) = core.inbound(conn) else {
            return;
        };
        if !wants_messages || step.lead < inbound.stash.len() {
            inbound.stash.append(fresh);
            if wants_messages && inbound.stash.len() >= inbound.stash.need() {
                self.deliver_from_stash(conn);
            }
            return;
        }
        let need = inbound.stash.need();
        let (consumed, outcome) = deliver(core, net, *handler, conn, &step.plaintext, need);
        match keep(core, conn, &step.plaintext[consumed..], outcome) {
            Some(error) => self.refuse(conn, error.into()),
            None => self.note_read(conn, consumed),
        }
    }

    /// The stream has ended; whether it was allowed to, the session knows.
    pub(super) fn stream_ended(&mut self, conn: ConnId) {
        // Once this node closes, the session sees nothing of what arrives, a goodbye included.
        // After a failed write, that it was reset says more than that it ended.
        let peer = self.net.peers.get(conn);
        let is_broken = peer.is_some_and(|peer| peer.failure().is_some());
        let asks = !is_broken && (self.is_handshaking(conn) || self.is_open(conn));
        let secure = self.core.inbound(conn).and_then(|i| i.secure.as_mut());
        let secure = secure.filter(|_| asks);
        let cut_off = secure.and_then(|secure| secure.wire_ended().err());
        // It has failed and seals nothing any more: what is queued will not leave.
        if let (Some(_), Some(peer)) = (cut_off, self.net.peers.get_mut(conn)) {
            peer.sealed_off = true;
        }
        self.peer_finished(conn, cut_off.map(DisconnectReason::Session));
    }
}

/// Has the session take what it can of `bytes`; `front` of them are what it had left.
fn unseal(inbound: &mut Inbound, bytes: &[u8], front: usize, mut plaintext: Vec<u8>) -> Step {
    let lead = if inbound.stash.is_short() {
        plaintext.extend_from_slice(inbound.stash.as_slice());
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
    let kept: Stash;
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
        Stage::Transparent if planted!(DropAfterHandshake) => {}
        Stage::Transparent => step.plaintext.extend_from_slice(rest),
        // What follows a goodbye is nobody's.
        Stage::Finished => {}
        Stage::Handshaking | Stage::Established => {
            secure.wire.replace(rest, 0);
            return step;
        }
    }
    secure.wire = Stash::default();
    step
}
