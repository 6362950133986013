//! Receiving and sending datagrams.

use super::EventLoop;
use super::call::call_handler;
use crate::handler::Handler;
use crate::id::UdpId;
use crate::mutants::mutant;

impl<H: Handler> EventLoop<'_, H> {
    /// Receives from each UDP socket that has datagrams, for a quarter of the
    /// time that connections have. The others keep their order for the next
    /// turn.
    pub(super) fn run_datagrams(&mut self) {
        let mut waiting = self.net.udp.ready.len();
        if waiting == 0 {
            return;
        }
        let most = self.net.config.budget.max_turn_time / 4;
        let began = self.net.read_clock();
        while waiting > 0 && self.net.read_clock().saturating_duration_since(began) < most {
            waiting -= 1;
            if let Some(udp) = self.net.udp.ready.pop_front() {
                self.receive_datagrams(udp);
            }
        }
    }

    /// Receives from one socket until it has no more, or until its budget or
    /// the time of a visit is used up.
    fn receive_datagrams(&mut self, udp: UdpId) {
        let budget = self.net.config.budget;
        let (mut datagrams, mut bytes) = (budget.datagrams, budget.read_bytes);
        let began = self.net.read_clock();
        if let Some(entry) = self.net.udp.get_mut(udp) {
            entry.is_scheduled = false;
            // One byte more shows whether a datagram is too long.
            self.buffer.grow(entry.max_datagram_len + 1);
        }
        loop {
            // The handler may have closed the socket.
            let Some(entry) = self.net.udp.get_mut(udp).filter(|it| it.is_readable) else {
                return;
            };
            if datagrams == 0 || bytes == 0 {
                break;
            }
            datagrams -= 1;
            let room = self.buffer.room(entry.max_datagram_len + 1);
            if let Some((len, from)) = entry.receive(room) {
                bytes = bytes.saturating_sub(len);
                let datagram = self.buffer.filled(len);
                let call = |handler: &mut H, net: &mut _| {
                    handler.on_datagram(net, udp, from, datagram);
                };
                call_handler(self.net, self.handler, "on_datagram", None, call);
                self.flush_urgent();
            }
            self.net.clock.is_stale = true;
            let elapsed = self.net.read_clock().saturating_duration_since(began);
            if elapsed >= budget.max_visit_time {
                break;
            }
        }
        mutant!(ForgetDatagrams => return);
        self.net.udp.schedule_receive(udp);
    }

    /// Sends queued datagrams for a quarter of the time that connections have,
    /// unless the node is shutting down, and calls `on_udp_drain` where it is
    /// due.
    pub(super) fn flush_datagrams(&mut self) {
        if self.net.udp.dirty.is_empty() {
            return;
        }
        let most = self.net.config.budget.max_turn_time / 4;
        let began = self.net.read_clock();
        let mut dirty = std::mem::take(&mut self.net.udp.dirty);
        for udp in dirty.drain(..) {
            let elapsed = self.net.read_clock().saturating_duration_since(began);
            if elapsed >= most && self.net.stopping.is_none() {
                self.net.defer_datagrams(udp);
                continue;
            }
            self.net.send_datagrams(udp);
            self.net.clock.is_stale = true;
        }
        self.net.udp.dirty = dirty;
        let mut drained = std::mem::take(&mut self.net.udp.drained);
        for udp in drained.drain(..) {
            if self.net.udp.get(udp).is_some() {
                self.call("on_udp_drain", None, |handler, net| {
                    handler.on_udp_drain(net, udp);
                });
            }
        }
        self.net.udp.drained = drained;
    }

    /// Closes the UDP sockets when a shutdown is complete.
    pub(super) fn close_datagrams(&mut self) {
        let has_begun = self.net.stopping.is_some_and(|stopping| stopping.begun);
        if has_begun && self.net.conns.len() == 0 && self.net.udp.len() > 0 {
            self.net.close_all_udp();
        }
    }
}
