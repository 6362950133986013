//! Reporting the readiness of the program's own sources.

use super::EventLoop;
use crate::handler::Handler;

impl<H: Handler> EventLoop<'_, H> {
    /// Calls `on_ready` once for each source that is ready, as long as a quarter
    /// of the time for connections. The others keep their places, because their
    /// edges do not come again.
    pub(super) fn run_sources(&mut self) {
        if !self.net.sources.has_ready() {
            return;
        }
        let began = self.net.read_clock();
        let time = self.net.config.budget.max_turn_time / 4;
        while let Some((source, readiness)) = self.net.sources.next_ready() {
            self.call("on_ready", None, |handler, net| {
                handler.on_ready(net, source, readiness);
            });
            if self.net.read_clock().saturating_duration_since(began) >= time {
                return;
            }
        }
    }
}
