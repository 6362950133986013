//! The end of the stream and read errors.

use super::{EventLoop, InboundHalf};
use crate::connection::{ConnEntry, Ending, Lifecycle};
use crate::error::DisconnectReason;
use crate::handler::Handler;
use crate::id::ConnId;
use crate::sys::Stream;

impl<H: Handler> EventLoop<'_, H> {
    /// Handles the end of the TCP stream. The session decides whether the end
    /// is clean.
    pub(super) fn stream_ended(&mut self, half: &mut InboundHalf) {
        let conn = half.id;
        // A closing node no longer passes bytes to the session, so the session
        // would miss the close notification. After a write failure, the failure
        // is the more useful reason.
        let entry = self.net.conns.get(conn);
        let is_broken = entry.is_some_and(|entry| entry.write_failure().is_some());
        let asks_session = !is_broken && (self.is_handshaking(conn) || self.is_open(conn));
        let channel = half.channel.as_mut().filter(|_| asks_session);
        let cut_off = channel.and_then(|channel| {
            let error = channel.wire_ended().err();
            if let Some(timeout) = channel.take_timer_change() {
                self.net.set_session_timer(conn, timeout);
            }
            error
        });
        // A failed session does not seal, so the queued messages are lost.
        if let (Some(_), Some(entry)) = (cut_off, self.net.conns.get_mut(conn)) {
            entry.sealing_failed = true;
        }
        self.handle_read_closed(half, cut_off.map(DisconnectReason::Session));
    }

    /// Handles the end of the stream, after all bytes that arrived were
    /// delivered. `cut_off` is set if the session does not accept the end.
    pub(super) fn handle_read_closed(
        &mut self,
        half: &mut InboundHalf,
        cut_off: Option<DisconnectReason>,
    ) {
        let (conn, partial) = (half.id, half.partial.len());
        let has_channel = half.channel.is_some();
        let Some(entry) = self.net.conns.get_mut(conn) else {
            return;
        };
        let was_closed = entry.read_closed;
        let reason = entry.note_read_closed(partial);
        let reason = cut_off.unwrap_or(reason);
        // FIN is sent after the close notification of the session.
        let nothing_left = !entry.has_output() && (!has_channel || entry.fin_sent);
        let broken = entry.write_failure().is_some();
        let is_clean = partial == 0 && cut_off.is_none() && !broken;
        let half_open = entry.config.allow_half_open && is_clean;
        match entry.lifecycle() {
            Lifecycle::Open if half_open && was_closed => self.check_for_reset(conn),
            Lifecycle::Open if half_open && !entry.fin_sent => {
                self.call_in_visit("on_read_closed", half, |handler, net| {
                    handler.on_read_closed(net, conn)
                });
                // The end and a later reset may arrive as one edge. Then no
                // other visit checks for the reset.
                self.check_for_reset(conn);
            }
            Lifecycle::Open if !nothing_left && !broken => self.net.start_closing(conn, reason),
            Lifecycle::Closing(_) if !nothing_left => {}
            _ => self.net.end_connection(conn, Ending::Disconnected(reason)),
        }
    }

    /// Checks for a reset after the peer closed its sending side.
    fn check_for_reset(&mut self, conn: ConnId) {
        let error = self.net.stream(conn).and_then(Stream::take_error);
        if let Some(error) = error {
            self.end_broken(conn, DisconnectReason::from_io(&error));
        }
    }

    /// Checks for the end of a paused connection that was reported ready. Its
    /// bytes stay in the socket. The end is handled now if no bytes are left to
    /// deliver.
    pub(super) fn check_end_while_paused(&mut self, half: &mut InboundHalf) {
        let conn = half.id;
        let Some(stream) = self.net.stream(conn) else {
            return;
        };
        if !half.read_closed_seen || half.partial.is_undecoded() {
            return;
        }
        match stream.is_at_end() {
            Ok(true) => self.stream_ended(half),
            Ok(false) => {}
            Err(error) => self.end_broken(conn, DisconnectReason::from_io(&error)),
        }
    }

    pub(super) fn end_broken(&mut self, conn: ConnId, error: DisconnectReason) {
        let Some(entry) = self.net.conns.get(conn) else {
            return;
        };
        let reason = entry.break_reason(error);
        self.net.end_connection(conn, Ending::Disconnected(reason));
    }

    /// Handles an empty socket. If writing has failed, the connection ends now,
    /// because all bytes that arrived are delivered.
    pub(super) fn handle_empty_socket(&mut self, conn: ConnId) {
        if let Some(failure) = self.net.conns.get(conn).and_then(ConnEntry::write_failure) {
            self.net.end_connection(conn, Ending::Disconnected(failure));
        }
    }
}
