//! Threads that wait for a connection to open, or for room in its queue.

use std::mem;

use bytes::Bytes;

use super::Net;
use super::body::Body;
use crate::answer::Question;
use crate::config::OnFull;
use crate::error::{ConnectError, SendError};
use crate::id::ConnId;

/// The outcome for a thread that waits for a connection.
pub(crate) type Connected = Result<ConnId, ConnectError>;

/// The threads that wait. The lists are short, because each entry is a blocked
/// thread.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    connects: Vec<(ConnId, Question<Connected>)>,
    /// In the order of the calls.
    sends: Vec<WaitingSend>,
}

/// A message that waits for room in a queue.
#[derive(Debug)]
struct WaitingSend {
    conn: ConnId,
    body: Bytes,
    question: Question<Result<(), SendError>>,
}

impl Waiters {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.connects.is_empty() && self.sends.is_empty()
    }
}

impl Net {
    /// Registers a question that is answered when the attempt to connect has
    /// succeeded or failed.
    pub(crate) fn await_connect(&mut self, conn: ConnId, question: Question<Connected>) {
        self.waiters.connects.push((conn, question));
    }

    /// Answers the thread that waits for this connection, if any. Called after
    /// `on_connect` and `on_connect_failed`. If the thread no longer waits, the
    /// connection is aborted.
    #[cold]
    pub(crate) fn answer_connect(&mut self, conn: ConnId, outcome: Connected) {
        let connects = &mut self.waiters.connects;
        let Some(index) = connects.iter().position(|(id, _)| *id == conn) else {
            return;
        };
        let (_, question) = connects.swap_remove(index);
        if let Err(Ok(conn)) = question.answer(outcome) {
            self.abort(conn);
        }
    }

    /// Queues one message and answers the question. If the queue is full, the
    /// message waits for room.
    pub(crate) fn send_or_wait(
        &mut self,
        conn: ConnId,
        body: Bytes,
        question: Question<Result<(), SendError>>,
    ) {
        let send = WaitingSend {
            conn,
            body,
            question,
        };
        if send.question.is_abandoned() {
            return;
        }
        let sends = &self.waiters.sends;
        // Messages that already wait come first.
        let is_behind = sends.iter().any(|other| other.conn == conn);
        if is_behind || !self.try_waiting(&send) {
            self.waiters.sends.push(send);
        }
    }

    /// Tries the waiting messages of a connection again, because there may be
    /// room in its queue, or it can no longer send.
    #[cold]
    pub(crate) fn retry_waiting_sends(&mut self, conn: ConnId) {
        let mut sends = mem::take(&mut self.waiters.sends);
        let mut is_full = false;
        sends.retain(|send| {
            if send.conn != conn || is_full {
                return true;
            }
            is_full = !self.try_waiting(send);
            is_full
        });
        self.waiters.sends = sends;
    }

    /// Answers the threads that wait for room in a queue that accepts no more
    /// messages.
    #[inline]
    pub(super) fn refuse_waiting_sends(&mut self, conn: ConnId) {
        if !self.waiters.is_empty() {
            self.retry_waiting_sends(conn);
        }
    }

    /// Tries to queue a waiting message. Returns whether its question is
    /// settled.
    fn try_waiting(&mut self, send: &WaitingSend) -> bool {
        let conn = send.conn;
        send.question.attempt(|| {
            let sent = self.send_if_room(conn, &send.body);
            // No drain follows for a connection of another shard.
            let is_worth_waiting = sent == Err(SendError::Full) && self.conns.get(conn).is_some();
            (!is_worth_waiting).then_some(sent)
        })
    }

    /// Sends a message, but never ends the connection because of a full queue.
    fn send_if_room(&mut self, conn: ConnId, body: &Bytes) -> Result<(), SendError> {
        if let Some(entry) = self.conns.get_mut(conn).filter(|entry| entry.can_send()) {
            if entry.config.send_queue.on_full == OnFull::Disconnect {
                let whole = Body::from(body.clone());
                let header = whole.header(&entry.codec, entry.config.max_message_len)?;
                let tail = entry.codec.tail();
                let need = header.len() + body.len() + tail.as_slice().len();
                if !entry.has_room(need) {
                    entry.request_drain();
                    return Err(SendError::Full);
                }
            }
        }
        self.send(conn, body.clone())
    }

    /// Aborts attempts and drops messages whose threads no longer wait.
    #[cold]
    pub(crate) fn drop_abandoned(&mut self) {
        let mut abandoned = Vec::new();
        self.waiters.connects.retain(|(conn, question)| {
            let is_abandoned = question.is_abandoned();
            if is_abandoned {
                abandoned.push(*conn);
            }
            !is_abandoned
        });
        abandoned.into_iter().for_each(|conn| self.abort(conn));
        let sends = &mut self.waiters.sends;
        sends.retain(|send| !send.question.is_abandoned());
    }
}
