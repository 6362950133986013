//! The end of a node that was asked for: its beginning, and what is left when the grace is over.

use super::EventLoop;
use crate::connection::{Ending, Lifecycle};
use crate::error::{ConnectError, DisconnectReason};
use crate::handler::Handler;
use crate::id::ConnId;

impl<H: Handler> EventLoop<'_, H> {
    /// Carries out a shutdown that was asked for: nobody new, and everybody out.
    pub(super) fn begin_shutdown(&mut self) {
        let Some(stopping) = &mut self.net.stopping else {
            return;
        };
        if std::mem::replace(&mut stopping.begun, true) {
            return;
        }
        let listeners: Vec<usize> = self.net.listeners.iter().map(|(index, _)| index).collect();
        listeners
            .into_iter()
            .for_each(|index| self.net.drop_listener(index));
        let conns: Vec<_> = self
            .net
            .conns
            .iter()
            .map(|(conn, entry)| (conn, entry.lifecycle()))
            .collect();
        for (conn, state) in conns {
            match state {
                Lifecycle::Connecting | Lifecycle::Handshaking => {
                    self.net.fail(conn, ConnectError::ShuttingDown);
                }
                Lifecycle::Open => self.net.begin_closing(conn, DisconnectReason::Shutdown),
                Lifecycle::Closing(_) | Lifecycle::Ended(_) | Lifecycle::Released => {}
            }
        }
    }

    /// When the grace is over, ends what is left. Everything has had its flush by then, even with a grace of zero.
    pub(super) fn end_shutdown(&mut self) {
        let (stopping, now) = (self.net.stopping, self.net.now);
        if !stopping.is_some_and(|stopping| stopping.begun && stopping.by <= now) {
            return;
        }
        let left: Vec<ConnId> = self.net.conns.iter().map(|(conn, _)| conn).collect();
        for conn in left {
            self.net
                .end(conn, Ending::Disconnected(DisconnectReason::Shutdown));
        }
        self.report_ends();
    }
}
