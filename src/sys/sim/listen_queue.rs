//! A listening socket, and the connections that wait to be accepted.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::event::{PollerId, SocketId};
use super::socket::Buffers;

/// The options of a listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenSettings {
    pub(super) backlog: u32,
    pub(super) reuse_port: bool,
    pub(super) buffers: Buffers,
}

#[derive(Debug)]
pub(super) struct ListenQueue {
    pub(super) host: IpAddr,
    pub(super) addr: SocketAddr,
    pub(super) settings: ListenSettings,
    /// Number of handshakes that were answered and are not complete.
    handshaking: usize,
    /// Connections that are complete and not accepted.
    waiting: VecDeque<SocketId>,
    /// The poller and the token.
    pub(super) registration: Option<(PollerId, usize)>,
    /// The selector reports the listener when a connection waits.
    pub(super) is_armed: bool,
    /// The listener is on the poller's list.
    pub(super) queued: bool,
    /// Number of delayed reports.
    late: u32,
}

impl ListenQueue {
    pub(super) fn new(host: IpAddr, addr: SocketAddr, settings: ListenSettings) -> Self {
        Self {
            host,
            addr,
            settings,
            handshaking: 0,
            waiting: VecDeque::new(),
            registration: None,
            is_armed: false,
            queued: false,
            late: 0,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns whether no complete connection fits. On Linux one connection
    /// more than the backlog can wait.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() > self.settings.backlog as usize
    }

    /// Returns whether the handshakes in progress need all remaining places.
    pub(super) fn is_promised(&self) -> bool {
        self.handshaking + self.waiting.len() > self.settings.backlog as usize
    }

    pub(super) fn start_handshake(&mut self) {
        self.handshaking += 1;
    }

    pub(super) fn drop_handshake(&mut self) {
        self.handshaking -= 1;
    }

    pub(super) fn complete_handshake(&mut self, id: SocketId) {
        self.handshaking -= 1;
        self.waiting.push_back(id);
    }

    pub(super) fn take_waiting(&mut self) -> Option<SocketId> {
        self.waiting.pop_front()
    }

    pub(super) fn delay_report(&mut self) {
        self.late += 1;
    }

    pub(super) fn report_late(&mut self) {
        self.late -= 1;
    }

    /// Returns whether a report is due or delayed.
    pub(super) fn is_awaited(&self) -> bool {
        self.queued || self.late > 0
    }
}
