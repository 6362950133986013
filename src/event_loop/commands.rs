//! What other threads ask for, among them those of other shards.

use super::EventLoop;
use crate::command_queue::{Command, Inbox};
use crate::cross_shard::{ShardCommand, ShardSignal};
use crate::handler::Handler;

impl<H: Handler> EventLoop<'_, H> {
    pub(super) fn run_commands(&mut self, inbox: &Inbox<H>) {
        inbox.rearm();
        self.state
            .note_pending_shutdown(inbox.shutdown_asked(), inbox.len());
        if inbox.take_signal(ShardSignal::Place) {
            self.net.admit_waiting();
        }
        if inbox.take_signal(ShardSignal::Descriptor) {
            self.net.wake_listeners();
        }
        for command in inbox.take(self.net.config.command_budget) {
            self.net.metrics.commands += 1;
            self.state.commands_before_shutdown =
                self.state.commands_before_shutdown.saturating_sub(1);
            match command {
                Command::ShardCommand(order) => self.obey(order),
                Command::Call(call) => {
                    self.call("a posted call", None, call);
                }
            }
            self.flush_urgent();
        }
        inbox.report_wakes(&mut self.net.metrics);
        if self.state.commands_before_shutdown == 0 {
            if let Some(grace) = self.state.pending_shutdown.take() {
                self.net.shutdown(grace);
            }
        }
    }

    fn obey(&mut self, order: ShardCommand) {
        match order {
            ShardCommand::Send(conn, body) => {
                if let Err(error) = self.net.send_bytes(conn, body) {
                    self.net.metrics.commands_lost += 1;
                    let name = &self.net.config.name;
                    log::debug!(target: "peerloop", "{name}: {conn}: a message from another thread: {error}");
                }
            }
            ShardCommand::BroadcastOutcome(broadcast) => {
                let lost = self.net.announce(*broadcast);
                self.net.metrics.commands_lost += lost as u64;
            }
            ShardCommand::ConnCommand(conn, verb) => self.net.apply_command(conn, verb),
            // Nobody new, once everybody was shown out.
            ShardCommand::Adopt(_) if self.net.stopping.is_some_and(|stopping| stopping.begun) => {
                self.net.reject_accepted();
            }
            ShardCommand::Adopt(accepted) => self.admit(*accepted),
            ShardCommand::EndSelfConnection(conn, stream) => {
                self.net.end_self_connection(conn);
                drop(stream);
            }
        }
    }
}
