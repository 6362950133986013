//! PROXY headers of accepted connections.

use super::EventLoop;
use super::accept::ACCEPTS_MIN;
use crate::cross_shard::AcceptedSocket;
use crate::handler::Handler;
use crate::mutants::mutant;

impl<H: Handler> EventLoop<'_, H> {
    /// Reads headers, and admits connections whose header is complete. Headers
    /// share the time of accepting, and have its budget again.
    pub(super) fn run_headers(&mut self) {
        let budget = self.net.config.budget.accepts;
        for read in 0..budget.min(self.net.work.headers.len()) {
            if read >= ACCEPTS_MIN && self.net.is_accept_time_over() {
                return;
            }
            let Some(conn) = self.net.work.headers.pop_front() else {
                return;
            };
            let Some(accepted) = self.net.read_header(conn) else {
                continue;
            };
            if !self.try_admit(accepted) {
                self.net.reject_accepted();
                // The descriptor was held since an earlier turn.
                self.net.resume_listeners();
            }
        }
        mutant!(ForgetHeader => self.net.work.headers.clear());
    }

    /// Begins to wait for the header of an accepted connection, or closes the
    /// connection.
    #[cold]
    pub(super) fn expect_header(&mut self, accepted: AcceptedSocket, is_trusted: bool) {
        let addr = accepted.addr;
        if !is_trusted {
            let name = &self.net.config.name;
            log::debug!(target: "peerloop", "{name}: {addr} is no trusted proxy");
            self.net.metrics.refused_untrusted += 1;
            return self.net.reject_accepted();
        }
        let state = &*self.state;
        let is_silent = |conn| state.is_silent(conn);
        match self.net.expect_header(accepted, &is_silent) {
            Ok(true) => {}
            Ok(false) => self.net.reject_accepted(),
            Err(error) => {
                self.count_accept_error(addr, &error);
                self.net.reject_accepted();
            }
        }
    }
}
