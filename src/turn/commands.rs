//! What other threads ask for, among them those of other shards.

use super::Driver;
use crate::handle::{Command, Inbox};
use crate::handler::Handler;
use crate::siblings::{News, Order};

impl<H: Handler> Driver<'_, H> {
    pub(super) fn run_commands(&mut self, inbox: &Inbox<H>) {
        inbox.rearm();
        self.core.note_farewell(inbox.shutdown_asked(), inbox.len());
        if inbox.has_heard(News::Place) {
            self.net.admit_waiting();
        }
        if inbox.has_heard(News::Descriptor) {
            self.net.wake_listeners();
        }
        for command in inbox.take(self.net.config.command_budget) {
            self.net.metrics.commands += 1;
            self.core.commands_before_farewell =
                self.core.commands_before_farewell.saturating_sub(1);
            match command {
                Command::Order(order) => self.obey(order),
                Command::Call(call) => {
                    self.call("a posted call", None, call);
                }
            }
            self.flush_urgent();
        }
        inbox.report_wakes(&mut self.net.metrics);
        if self.core.commands_before_farewell == 0 {
            if let Some(grace) = self.core.farewell.take() {
                self.net.shutdown(grace);
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Send(conn, body) => {
                if let Err(error) = self.net.send_bytes(conn, body) {
                    self.net.metrics.commands_lost += 1;
                    let name = &self.net.config.name;
                    log::debug!(target: "peerloop", "{name}: {conn}: a message from another thread: {error}");
                }
            }
            Order::Broadcast(announcement) => {
                let lost = self.net.announce(*announcement);
                self.net.metrics.commands_lost += lost as u64;
            }
            Order::Verb(conn, verb) => self.net.carry_out(conn, verb),
            // Nobody new, once everybody was shown out.
            Order::Adopt(_) if self.net.stopping.is_some_and(|stopping| stopping.begun) => {
                self.net.turn_away();
            }
            Order::Adopt(newcomer) => self.admit(*newcomer),
            Order::EndSelfConnection(conn, stream) => {
                self.net.end_self_connection(conn);
                drop(stream);
            }
        }
    }
}
