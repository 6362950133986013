//! Sending pings.

use super::send::pending_send;
use super::{Body, Net};
use crate::id::ConnId;
use crate::time::Timestamp;

impl Net {
    /// Queues the ping of a connection if nothing was sent for its time, and
    /// nothing is queued.
    pub(crate) fn send_ping_if_due(&mut self, conn: ConnId, now: Timestamp) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        if !entry.take_ping(now) || entry.has_output() || entry.write_failure().is_some() {
            return;
        }
        let Some(ping) = &entry.config.ping else {
            return;
        };
        let body = Body::from(ping.message.clone());
        let Ok(header) = body.header(&entry.codec, entry.config.max_message_len) else {
            return;
        };
        // `send` would owe an `on_drain` for a refused message.
        let need = header.len() + body.len() + entry.codec.tail().as_slice().len();
        let send = pending_send(entry, &body, need, false, &self.pool);
        if self.send_quota.admits(&send, &self.pool.account) && self.send(conn, body).is_ok() {
            self.metrics.pings_sent += 1;
        }
    }
}
