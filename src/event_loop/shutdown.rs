//! Shutdown of a node: closing all connections, and ending the rest after the
//! grace period.

use super::EventLoop;
use crate::connection::{Ending, Lifecycle};
use crate::error::{ConnectError, DisconnectReason};
use crate::handler::Handler;
use crate::id::ConnId;

impl<H: Handler> EventLoop<'_, H> {
    /// Starts a requested shutdown: closes the listeners and all connections.
    pub(super) fn start_shutdown(&mut self) {
        let Some(stopping) = &mut self.net.stopping else {
            return;
        };
        if std::mem::replace(&mut stopping.begun, true) {
            return;
        }
        let listeners: Vec<usize> = self.net.listeners.iter().map(|(index, _)| index).collect();
        listeners
            .into_iter()
            .for_each(|index| self.net.remove_listener(index));
        self.net.discard_headers();
        let conns: Vec<_> = self
            .net
            .conns
            .iter()
            .map(|(conn, entry)| (conn, entry.lifecycle()))
            .collect();
        for (conn, state) in conns {
            match state {
                Lifecycle::Connecting | Lifecycle::Handshaking => {
                    self.net.fail_connection(conn, ConnectError::ShuttingDown);
                }
                Lifecycle::Open => self.net.start_closing(conn, DisconnectReason::Shutdown),
                Lifecycle::Closing(_) | Lifecycle::Ended(_) | Lifecycle::Released => {}
            }
        }
    }

    /// Ends the remaining connections when the grace period is over. Each has
    /// been flushed by then, even with a grace period of zero.
    pub(super) fn complete_shutdown(&mut self) {
        let (stopping, now) = (self.net.stopping, self.net.now);
        if !stopping.is_some_and(|stopping| stopping.begun && stopping.by <= now) {
            return;
        }
        let remaining: Vec<ConnId> = self.net.conns.iter().map(|(conn, _)| conn).collect();
        for conn in remaining {
            self.net
                .end_connection(conn, Ending::Disconnected(DisconnectReason::Shutdown));
        }
        self.report_ends();
    }
}
