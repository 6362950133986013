//! Closing connections. The functions are in the order in which they run: calls
//! of the program, `Closing`, `Ended`, release of resources, free slot.
//!
//! ```text
//! state        event                             next state   callback
//! Connecting   TCP connected                     Handshaking  transport
//! Connecting   registering failed, accepted      Released
//! Handshaking  handshake complete                Open         on_connect
//! Handshaking  session failed                    Closing
//! Connecting,  close, abort, panic, error, end   Ended        on_connect_failed
//! Handshaking  of stream, timeout, shutdown
//! Open         end of stream, allow_half_open    Open         on_read_closed
//! Open         end of stream, output left        Closing
//! Open         close, session failed, shutdown   Closing
//! Open         abort, panic, error, timeout      Ended        on_disconnect
//! Open         end of stream, no output left     Ended        on_disconnect
//! Open         both sides closed, all written    Ended        on_disconnect
//! Closing      all written                       Closing      (FIN is sent)
//! Closing      end of stream, all written        Ended        on_disconnect (1)
//! Closing      abort, error, timeout             Ended        on_disconnect (1)
//! any above    grace of a shutdown has passed    Ended        as above
//! Ended        last callback made                Released
//! Released     end of the turn                   slot free
//! ```
//!
//! (1) `on_connect_failed` if the connection was never `Open`.
//!
//! After a write failure a connection stays in its state until the messages
//! that had arrived are delivered. A close then ends it at once.
//! `Net::end_connection` makes the transition to `Ended` and returns the
//! limits. The callback follows at the end of the turn.

use super::Net;
use crate::connection::{ConnEntry, Ending, Lifecycle};
use crate::cross_shard::ConnCommand;
use crate::error::{ConnectError, DisconnectReason, SessionError};
use crate::id::{ConnId, Direction};
use crate::mutants::mutant;

impl Net {
    /// Closes a connection gracefully.
    ///
    /// - From this call on sends are refused, and no further message is
    ///   delivered, even if it was already read.
    /// - Queued messages are sent, followed by FIN.
    /// - Data that arrives is discarded until the peer closes its side.
    ///
    /// After the last byte, the node waits for the FIN of the peer for at most
    /// [`Timeouts::linger`](crate::config::Timeouts::linger). Then
    /// [`Handler::on_disconnect`](crate::Handler::on_disconnect) is called with
    /// [`DisconnectReason::Local`]. If the kernel takes no queued byte for
    /// `linger`, the connection is reset, and the reason is a timeout of the
    /// kind [`TimeoutKind::Linger`](crate::error::TimeoutKind::Linger).
    ///
    /// A connection that is not open yet ends with [`ConnectError::Cancelled`].
    /// Closing a stale id, or a connection that is closing, is a no-op.
    pub fn close(&mut self, conn: ConnId) {
        match self.conns.get(conn).map(ConnEntry::lifecycle) {
            Some(Lifecycle::Connecting | Lifecycle::Handshaking) => {
                self.fail_connection(conn, ConnectError::Cancelled);
            }
            Some(Lifecycle::Open) => self.start_closing(conn, DisconnectReason::Local),
            Some(_) => {}
            None => self.forward_command(conn, ConnCommand::Close),
        }
    }

    /// Closes the sending side of a connection.
    ///
    /// Queued messages are sent, followed by FIN, and further sends are
    /// refused. Messages are received until the peer closes its side. The
    /// timeouts of an open connection apply. `linger` does not. This is a no-op
    /// for a connection that is not open and for a stale id.
    pub fn close_write(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return self.forward_command(conn, ConnCommand::CloseWrite);
        };
        if entry.lifecycle() == Lifecycle::Open {
            entry.close_sending();
            self.mark_dirty(conn);
            self.refuse_waiting_sends(conn);
        }
    }

    /// Ends a connection without sending its queued messages. The peer receives
    /// a reset (RST) at the end of this turn.
    ///
    /// From this call on no message is delivered.
    /// [`Handler::on_disconnect`](crate::Handler::on_disconnect) follows with
    /// [`DisconnectReason::Local`]. For a connection that is not open yet,
    /// [`Handler::on_connect_failed`](crate::Handler::on_connect_failed)
    /// follows with [`ConnectError::Cancelled`]. Aborting a stale id is a
    /// no-op.
    pub fn abort(&mut self, conn: ConnId) {
        self.abort_as(conn, DisconnectReason::Local);
    }

    /// Ends a connection as [`Net::abort`] does, with a reason of the program.
    ///
    /// [`Handler::on_disconnect`](crate::Handler::on_disconnect) receives
    /// [`DisconnectReason::Application`] with this text. The text is logged at
    /// debug level. It is not sent to the peer.
    ///
    /// ```
    /// # use peerloop::{ConnId, Handler, Net};
    /// # struct Server;
    /// impl Handler for Server {
    ///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
    ///         if message.is_empty() {
    ///             net.abort_with_reason(conn, "an empty request");
    ///         }
    ///     }
    /// }
    /// ```
    pub fn abort_with_reason(&mut self, conn: ConnId, reason: &'static str) {
        self.abort_as(conn, DisconnectReason::Application(reason));
    }

    pub(super) fn abort_as(&mut self, conn: ConnId, reason: DisconnectReason) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return self.forward_command(conn, ConnCommand::Abort(reason));
        };
        match entry.lifecycle() {
            Lifecycle::Connecting | Lifecycle::Handshaking => {
                self.fail_connection(conn, ConnectError::Cancelled);
            }
            Lifecycle::Open | Lifecycle::Closing(_) => {
                entry.reset = true;
                self.end_connection(conn, Ending::Disconnected(reason));
            }
            Lifecycle::Ended(_) | Lifecycle::Released => {}
        }
    }

    /// Stops delivering messages of a connection, beginning with the next
    /// message.
    ///
    /// The socket is not read during a pause, so TCP flow control stops the
    /// peer when the buffers of the kernel are full. Bytes that were already
    /// read are kept: at most
    /// [`read_buffer_bytes`](crate::Config::read_buffer_bytes) and one
    /// incomplete message. They are delivered after [`Net::resume`].
    ///
    /// If the peer closes or resets the connection during a pause, the end is
    /// reported after [`Net::resume`] and after the last message. An end by
    /// this node, such as [`Net::abort`] or a timeout, is reported without
    /// waiting for [`Net::resume`].
    ///
    /// During a pause the timeouts `idle`, `receive_idle` and `partial_message`
    /// and the minimum receive rate of this node do not apply. Its
    /// `write_stall` does.
    ///
    /// The [`write_stall`](crate::config::Timeouts::write_stall) of the *peer*
    /// applies too: a peer that uses this library with its defaults ends the
    /// connection when it could not write a byte for 60 s. For longer pauses,
    /// set a longer time or `None` at the peer.
    ///
    /// A connection can be paused in every state before it ends. A pause does
    /// not stop a handshake: `on_connect` is called nevertheless, and messages
    /// are delivered after [`Net::resume`].
    pub fn pause(&mut self, conn: ConnId) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.paused = true;
            entry.is_delivery_stopped = true;
            self.interrupt_batch(conn);
        } else {
            self.forward_command(conn, ConnCommand::Pause);
        }
    }

    /// Continues the delivery of messages of a paused connection, beginning
    /// with the first one that was not delivered. No message is lost by a
    /// pause.
    pub fn resume(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return self.forward_command(conn, ConnCommand::Resume);
        };
        mutant!(ResumeBeforeOpen => if entry.is_unopened() { return });
        let was_paused = std::mem::take(&mut entry.paused);
        entry.is_delivery_stopped = entry.is_receiving_limited;
        if !was_paused || entry.lifecycle() != Lifecycle::Open {
            return;
        }
        self.restart_deadline(conn);
        mutant!(LoseEdgeOnResume => return);
        self.request_visit(conn);
    }

    /// Moves a connection to `Closing`: stops delivering messages, and sends
    /// the queued ones.
    pub(crate) fn start_closing(&mut self, conn: ConnId, reason: DisconnectReason) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        if let Some(failure) = entry.write_failure() {
            // Nothing can be written after a write failure.
            return self.end_connection(conn, Ending::Disconnected(failure));
        }
        let ending = entry.ending_for(Ending::Disconnected(reason));
        let (before, direction, addr) = (entry.lifecycle(), entry.direction(), entry.addr());
        debug_assert!(matches!(before, Lifecycle::Handshaking | Lifecycle::Open));
        entry.set_closing(ending);
        self.uncount_state(conn, before, direction);
        self.end_needless_waits(conn);
        // The address may be connected to again at once.
        self.limits.lock().remove_address(addr);
        self.restart_deadline(conn);
        self.interrupt_batch(conn);
        self.mark_dirty(conn);
        // Unread input is discarded, even during a pause, so that the end of
        // the peer's stream is detected.
        self.request_visit(conn);
        self.refuse_waiting_sends(conn);
    }

    /// Closes a connection whose session has failed. Queued messages are
    /// dropped, and the output of the session is written.
    pub(crate) fn fail_session(&mut self, conn: ConnId, error: SessionError) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        if matches!(entry.lifecycle(), Lifecycle::Handshaking | Lifecycle::Open) {
            entry.sealing_failed = true;
            self.start_closing(conn, DisconnectReason::Session(error));
        }
    }

    /// Ends a connection. All ends pass through this function. Limits and
    /// timers are released at once, so that the last callback may connect to
    /// the address. At the end of the turn the loop calls that callback and
    /// closes the socket.
    pub(crate) fn end_connection(&mut self, conn: ConnId, cause: Ending) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        let (before, info) = (entry.lifecycle(), entry.info());
        if matches!(before, Lifecycle::Ended(_) | Lifecycle::Released) {
            return;
        }
        let ending = entry.ending_for(cause);
        entry.set_state(Lifecycle::Ended(ending));
        self.received_bytes -= std::mem::take(&mut entry.received_bytes);
        self.uncount_state(conn, before, info.direction);
        let mut limits = self.limits.lock();
        if !matches!(before, Lifecycle::Closing(_)) {
            limits.remove_address(info.addr);
        }
        limits.discharge(&info);
        if info.direction == Direction::Outbound && ending.is_failed_attempt() {
            limits.retries.note_failure(info.addr, self.now);
        }
        drop(limits);
        self.cancel_delayed_connect(conn);
        self.cancel_conn_timers(conn);
        self.cancel_token_waits(conn);
        self.interrupt_batch(conn);
        self.work.ended.push_back(conn);
        mutant!(KeepTimer => return);
        self.arm_deadline(conn);
    }

    /// Ends a connection that was not open.
    pub(crate) fn fail_connection(&mut self, conn: ConnId, error: ConnectError) {
        self.end_connection(conn, Ending::Failed(error));
    }

    /// Records that a message was lost, so that the connection is reset if the
    /// node is dropped.
    pub(crate) fn mark_cut(&mut self, conn: ConnId) {
        if let Some(entry) = self.conns.get_mut(conn).filter(|entry| entry.can_send()) {
            entry.reset = true;
        }
    }

    /// Resets every connection that has bytes to send, when the node is
    /// dropped. Otherwise a peer could not distinguish a truncated stream from
    /// a close.
    pub(crate) fn reset_cut_off(&mut self) {
        for (stream, reset) in self.conns.entries_mut().filter_map(ConnEntry::take_stream) {
            if reset {
                // A socket that is already broken cannot be reset and does not
                // need it.
                let _ = stream.reset_on_close();
            }
        }
    }

    /// Ends a connection of this node with itself.
    pub(crate) fn end_self_connection(&mut self, conn: ConnId) {
        if self.conns.get(conn).is_some_and(ConnEntry::is_live) {
            self.metrics.self_connections += 1;
            self.end_connection(conn, Ending::Disconnected(DisconnectReason::SelfConnection));
        }
    }

    /// Counts that a connection has left this state.
    fn uncount_state(&mut self, conn: ConnId, state: Lifecycle, direction: Direction) {
        match state {
            Lifecycle::Connecting => self.remove_connecting(conn, direction),
            Lifecycle::Handshaking => {
                self.metrics.handshakes_failed += 1;
                mutant!(KeepConnecting => return);
                self.remove_connecting(conn, direction);
            }
            Lifecycle::Open => self.open[direction as usize] -= 1,
            Lifecycle::Closing(_) | Lifecycle::Ended(_) | Lifecycle::Released => {}
        }
    }

    /// Returns the token of a tracked send that was lost with its connection.
    pub(crate) fn pop_lost_token(&mut self, conn: ConnId) -> Option<u64> {
        let queue = self.conns.get_mut(conn)?.queue.as_mut()?;
        queue.pop_token(&mut self.pool)
    }

    /// Closes the socket of a connection that has ended. [`Net::release`]
    /// follows.
    pub(crate) fn close_socket(&mut self, conn: ConnId) {
        let entry = self.conns.get_mut(conn);
        let Some((stream, reset)) = entry.and_then(ConnEntry::take_stream) else {
            return;
        };
        if reset {
            // A reset fails on a socket that is already broken, which does not
            // need it.
            let _ = stream.reset_on_close();
        }
        if let Err(error) = self.registrar.close_stream(stream) {
            let name = &self.config.name;
            log::debug!(target: "peerloop", "{name}: {conn}: deregistering: {error}");
        }
    }

    /// Counts an end and releases the resources of the connection. The slot is
    /// kept until the end of the turn.
    pub(crate) fn release(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        if let Lifecycle::Ended(ending) = entry.lifecycle() {
            self.metrics.count_end(ending, entry.direction());
        }
        if let Some(router) = &self.router {
            router.remove_connection(conn, entry.direction());
        }
        entry.set_state(Lifecycle::Released);
        self.ended_traffic += std::mem::take(&mut entry.traffic);
        if let Some(queue) = entry.queue.take() {
            self.metrics.bytes_lost += queue.len() as u64;
            self.pool.put_queue(queue);
        }
        entry.update_session_charge(0, &mut self.pool.account);
        self.resume_listeners();
        if let Some(router) = &self.router {
            router.signal_free_descriptor();
        }
    }

    /// Frees the slot of a released connection. Called at the end of a turn.
    pub(crate) fn free_slot(&mut self, conn: ConnId) {
        debug_assert!(
            self.conns
                .get(conn)
                .is_some_and(|entry| entry.lifecycle() == Lifecycle::Released)
        );
        self.conns.remove(conn);
    }

    /// Releases a connection that failed before its id was given out.
    pub(crate) fn discard(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        debug_assert_eq!(entry.lifecycle(), Lifecycle::Connecting);
        entry.set_state(Lifecycle::Released);
        let info = entry.info();
        self.remove_connecting(conn, info.direction);
        if let Some(router) = &self.router {
            router.remove_connection(conn, info.direction);
        }
        let mut limits = self.limits.lock();
        limits.remove_address(info.addr);
        limits.discharge(&info);
    }
}
