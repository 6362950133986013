//! Running a node.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::Node;
use super::turn::{RunEnd, STOPPED_PAUSE, Turn, stopped, time_left};
use crate::handler::Handler;
use crate::net::Net;

impl<H: Handler> Node<H> {
    /// Runs the node until a [shutdown](Net::shutdown) is complete. If it is
    /// already complete, this returns at once.
    ///
    /// A panic in a callback ends the run only with
    /// [`OnPanic::Unwind`](crate::config::OnPanic::Unwind). This includes
    /// failed assertions; see [In tests](Node#in-tests).
    ///
    /// # Errors
    ///
    /// - The error of the operating system if waiting for events fails. Errors
    ///   of a connection or a listener are not returned here.
    pub fn run(&mut self) -> io::Result<()> {
        let mut now = None;
        while !self.stop_reported {
            let _ = self.turn_at(None, now)?;
            // No code of the program runs until the next wait.
            now = Some(self.inner.clock());
        }
        Ok(())
    }

    /// Runs the node until a condition is true or `bound` has passed. The last
    /// turn may end after `bound`.
    ///
    /// The condition is called with the handler and the net before the first
    /// turn and after each turn. It may change both.
    ///
    /// - If the condition is false at first, at least one turn is run, even
    ///   with a bound of zero.
    /// - If the node has stopped, the condition is called once and no turn is
    ///   run.
    ///
    /// Set [`OnPanic::Unwind`](crate::config::OnPanic::Unwind) in tests,
    /// because a failed assertion in a callback is contained otherwise. [In
    /// tests](Node#in-tests) has an example.
    ///
    /// # Errors
    ///
    /// - The errors of [`Node::run`].
    pub fn run_until(
        &mut self,
        bound: Duration,
        mut condition: impl FnMut(&mut H, &mut Net) -> bool,
    ) -> io::Result<RunEnd> {
        let end = self.poller.now().checked_add(bound);
        let mut is_first = true;
        loop {
            if self.with(&mut condition) {
                return Ok(RunEnd::Done);
            }
            if self.stop_reported {
                return Ok(RunEnd::Stopped);
            }
            // The condition may have taken long.
            let now = self.poller.now();
            let timeout = match time_left(end, now) {
                Some(left) => left,
                None if is_first => Duration::ZERO,
                None => return Ok(RunEnd::TimedOut),
            };
            let _ = self.turn_at(Some(timeout), Some(now))?;
            is_first = false;
        }
    }

    /// Runs the node until `time` has passed. The last turn may end later.
    /// Returns [`RunEnd::TimedOut`], or [`RunEnd::Stopped`] if a shutdown is
    /// complete earlier.
    ///
    /// # Errors
    ///
    /// - The errors of [`Node::run`].
    pub fn run_for(&mut self, time: Duration) -> io::Result<RunEnd> {
        self.run_until(time, |_, _| false)
    }

    /// Runs one turn: waits for an event, a command or a deadline, and then
    /// does the work that is due, within the budgets of the
    /// [`Config`](crate::Config).
    ///
    /// The wait ends after `timeout` at the latest. `None` waits until there is
    /// an event, a command or a deadline. Zero does not wait. Call it again at
    /// once after [`Turn::MoreWork`]. After [`Turn::Waiting`], call it when the
    /// descriptor of [`Node::as_fd`] is readable or [`Node::timeout`] has
    /// passed, or call it with a timeout.
    ///
    /// ```
    /// use std::time::Duration;
    /// use peerloop::{Config, ConnId, Handler, Net, Node, Turn};
    /// # struct Game;
    /// # impl Game {
    /// #     fn draw(&mut self) -> bool { false }
    /// # }
    /// # impl Handler for Game {
    /// #     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// # }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut node = Node::new(Config::default(), Game)?;
    /// while node.handler_mut().draw() {
    ///     // Runs the network between two pictures. Eight turns at most, so
    ///     // that peers that send without pause do not stop the game. Each takes
    ///     // up to `TurnBudget::max_turn_time`; a game sets 1 ms.
    ///     for _ in 0..8 {
    ///         match node.turn(Some(Duration::ZERO))? {
    ///             Turn::MoreWork => {}
    ///             Turn::Waiting => break,
    ///             Turn::Stopped => return Ok(()),
    ///         }
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - `BrokenPipe` if an earlier call has returned [`Turn::Stopped`] or
    ///   [`RunEnd::Stopped`], or if [`Node::run`] has returned. Before it
    ///   returns this error, the call waits for `timeout` or 10 ms, whichever
    ///   is shorter, so that a loop that ignores the error does not use a whole
    ///   core;
    /// - the errors of [`Node::run`].
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turn> {
        self.turn_at(timeout, None)
    }

    /// Runs one turn. `now` is a reading of the clock since which nothing took
    /// long.
    fn turn_at(&mut self, timeout: Option<Duration>, now: Option<Instant>) -> io::Result<Turn> {
        if self.stop_reported {
            thread::sleep(timeout.unwrap_or(STOPPED_PAUSE).min(STOPPED_PAUSE));
            return Err(stopped());
        }
        if !self.inner.has_stopped() {
            self.take_turn(timeout, now)?;
        }
        Ok(if self.inner.has_stopped() {
            self.stop_reported = true;
            Turn::Stopped
        } else if self.has_work() {
            Turn::MoreWork
        } else {
            Turn::Waiting
        })
    }

    fn take_turn(&mut self, timeout: Option<Duration>, now: Option<Instant>) -> io::Result<()> {
        let timeout = if self.has_work() {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        let (deadline, sockets) = (self.inner.next_deadline(), self.inner.sockets());
        self.poller.wait(timeout, deadline, now, sockets, |ready| {
            self.inner.note(ready)
        })?;
        self.inner.turn(&mut self.buffer, self.poller.now());
        Ok(())
    }

    /// Returns how long a surrounding loop may wait until it calls
    /// [`Node::turn`], if [`Node::as_fd`] does not become readable earlier.
    ///
    /// Returns zero if there is work at once, and `None` if there is no
    /// deadline or the node has stopped. Read it again after each turn and
    /// after each use of [`Node::net`].
    pub fn timeout(&self) -> Option<Duration> {
        if self.inner.has_stopped() {
            return None;
        }
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        let next = self.inner.next_deadline()?;
        Some(next.saturating_duration_since(self.poller.now()))
    }

    /// Returns the descriptor of the poller (Unix), for use in another poll
    /// loop.
    ///
    /// When it is readable, or when [`Node::timeout`] has passed, call
    /// [`Node::turn`] with a timeout of zero.
    #[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.poller.as_fd()
    }

    /// Returns whether there is work at once.
    pub(super) fn has_work(&self) -> bool {
        self.inner.has_work() || self.poller.is_full()
    }
}
