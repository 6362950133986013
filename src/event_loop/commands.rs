//! Commands from other threads and from other shards.

use super::EventLoop;
use crate::command_queue::{Command, Inbox};
use crate::cross_shard::{ShardCommand, ShardSignal};
use crate::handler::Handler;

impl<H: Handler> EventLoop<'_, H> {
    /// Runs the commands that wait, up to a budget. Most turns have none, and
    /// read only whether another thread has woken the loop.
    #[inline]
    pub(super) fn run_commands(&mut self, inbox: &mut Inbox<H>) {
        if inbox.has_work() || self.state.pending_shutdown.is_some() {
            self.run_waiting_commands(inbox);
        }
    }

    #[inline(never)]
    fn run_waiting_commands(&mut self, inbox: &mut Inbox<H>) {
        inbox.rearm();
        self.state
            .add_pending_shutdown(inbox.shutdown_asked(), inbox.len());
        if inbox.take_signal(ShardSignal::Eviction) {
            self.net.end_evicted();
        }
        if inbox.take_signal(ShardSignal::Descriptor) {
            self.net.resume_listeners();
        }
        if !self.net.waiters.is_empty() && inbox.take_signal(ShardSignal::Abandoned) {
            self.net.drop_abandoned();
        }
        let mut budget = self.net.config.budget.commands;
        loop {
            let before = budget;
            for command in inbox.take(budget) {
                budget -= 1;
                self.run_command(command);
            }
            // Commands that came meanwhile run in this turn. With eight threads
            // that ask without pause, that saves two thirds of the wakes.
            if budget == 0 || budget == before || !inbox.has_work() {
                break;
            }
        }
        // No callback follows a flush that another shard requested.
        self.flush_urgent();
        inbox.report_wakes(&mut self.net.metrics);
        if self.state.commands_before_shutdown == 0 {
            if let Some(grace) = self.state.pending_shutdown.take() {
                self.net.shutdown(grace);
            }
        }
    }

    fn run_command(&mut self, command: Command<H>) {
        self.net.metrics.commands += 1;
        self.state.commands_before_shutdown = self.state.commands_before_shutdown.saturating_sub(1);
        match command {
            Command::ShardCommand(command) => self.run_shard_command(command),
            Command::Call(call) => {
                self.call("a posted call", None, call);
            }
        }
    }

    fn run_shard_command(&mut self, command: ShardCommand) {
        match command {
            ShardCommand::Send(conn, body) => {
                if let Err(error) = self.net.send(conn, body) {
                    self.net.metrics.commands_lost += 1;
                    let name = &self.net.config.name;
                    log::debug!(target: "peerloop", "{name}: {conn}: a message from another thread: {error}");
                }
            }
            ShardCommand::Broadcast(broadcast) => {
                let lost = self.net.send_broadcast(*broadcast);
                self.net.metrics.commands_lost += lost as u64;
            }
            ShardCommand::ConnCommand(conn, command) => self.net.apply_command(conn, command),
            ShardCommand::Adopt(accepted) => self.receive_accepted(*accepted),
            ShardCommand::CloseListener(listener) => self.net.close_own_listener(listener),
            ShardCommand::EndSelfConnection(conn, stream) => {
                self.net.end_self_connection(conn);
                drop(stream);
            }
        }
    }
}
