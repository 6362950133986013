//! Running the members of a group.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::Group;
use super::member::AfterTurn;
use crate::command_queue::{self, Scope};
use crate::id::{MEMBER_SHIFT, TOKEN_MASK};
use crate::node::turn::{RunEnd, STOPPED_PAUSE, Turn, time_left};
use crate::sys::Readiness;

impl Group {
    /// Runs the group until every member has stopped. Returns at once if no
    /// member is running.
    ///
    /// A panic in a callback ends the run only with
    /// [`OnPanic::Unwind`](crate::config::OnPanic::Unwind). This includes
    /// failed assertions; see [In tests](crate::Node#in-tests).
    ///
    /// # Errors
    ///
    /// - The error of the operating system if waiting for events fails.
    pub fn run(&mut self) -> io::Result<()> {
        while self.running > 0 {
            let _ = self.turn(None)?;
        }
        self.stop_reported = true;
        Ok(())
    }

    /// Runs the group until a condition is true, or for about `bound`.
    ///
    /// The condition is called with the group before the first turn and after
    /// each turn. It may change the group.
    ///
    /// - At least one turn is run, even with a bound of zero, unless the
    ///   condition is true before.
    /// - [`RunEnd::Stopped`] is returned when no member is running.
    ///
    /// Set [`OnPanic::Unwind`](crate::config::OnPanic::Unwind) in tests,
    /// because a failed assertion in a callback is contained otherwise; see [In
    /// tests](crate::Node#in-tests).
    ///
    /// # Errors
    ///
    /// - The errors of [`Group::run`].
    pub fn run_until(
        &mut self,
        bound: Duration,
        mut condition: impl FnMut(&mut Self) -> bool,
    ) -> io::Result<RunEnd> {
        let end = self.poller.now().checked_add(bound);
        let mut left = time_left(end, self.poller.now()).or(Some(Duration::ZERO));
        loop {
            let holds = {
                let _running = command_queue::enter(self.loops, Scope::BetweenTurns);
                condition(self)
            };
            if holds {
                return Ok(RunEnd::Done);
            }
            if self.running == 0 {
                self.stop_reported = true;
                return Ok(RunEnd::Stopped);
            }
            let Some(timeout) = left else {
                return Ok(RunEnd::TimedOut);
            };
            let _ = self.turn(Some(timeout))?;
            left = time_left(end, self.poller.now());
        }
    }

    /// Runs the group for about `time`. Returns [`RunEnd::TimedOut`] after that
    /// time, or [`RunEnd::Stopped`] if every member has stopped earlier.
    ///
    /// # Errors
    ///
    /// - The errors of [`Group::run`].
    pub fn run_for(&mut self, time: Duration) -> io::Result<RunEnd> {
        self.run_until(time, |_| false)
    }

    /// Waits as [`Node::turn`](crate::Node::turn) does, and runs one turn of
    /// each member that has work.
    ///
    /// [`Turn::Stopped`] is returned once, when the last running member has
    /// stopped or was removed. After that, and before the first member is
    /// added, a turn waits for its timeout and returns [`Turn::Waiting`],
    /// because a member can be added later. A member that is added runs in the
    /// next turn.
    ///
    /// # Errors
    ///
    /// - `BrokenPipe` if `timeout` is `None` and no member is running, after
    ///   [`Turn::Stopped`] was returned or before the first member was added.
    ///   The wait would never end;
    /// - the errors of [`Group::run`].
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turn> {
        if self.running == 0 {
            return self.turn_without_members(timeout);
        }
        let timeout = if self.has_work() {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        self.wait(timeout)?;
        let now = self.poller.now();
        self.collect(now);
        let mut run = std::mem::replace(&mut self.ready, std::mem::take(&mut self.scratch));
        for index in run.drain(..) {
            let Some(slot) = self.members.get_mut(index) else {
                continue;
            };
            slot.queued = false;
            if !slot.stopped {
                let after = slot.member.turn(&mut self.buffer, now);
                self.settle(index, &after);
            }
        }
        self.scratch = run;
        Ok(if self.running == 0 {
            self.stop_reported = true;
            Turn::Stopped
        } else if self.has_work() {
            Turn::MoreWork
        } else {
            Turn::Waiting
        })
    }

    fn turn_without_members(&mut self, timeout: Option<Duration>) -> io::Result<Turn> {
        if !std::mem::replace(&mut self.stop_reported, true) {
            return Ok(Turn::Stopped);
        }
        match timeout {
            Some(timeout) => {
                thread::sleep(timeout);
                Ok(Turn::Waiting)
            }
            None => {
                thread::sleep(STOPPED_PAUSE);
                Err(io::Error::new(
                    io::ErrorKind::BrokenPipe,
                    "no member of the group is running",
                ))
            }
        }
    }

    /// Returns the time after which another loop must call [`Group::turn`]
    /// again; see [`Node::timeout`](crate::Node::timeout).
    pub fn timeout(&self) -> Option<Duration> {
        if self.running == 0 {
            return None;
        }
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        let next = self.deadlines.next()?;
        Some(next.saturating_duration_since(self.poller.now()))
    }

    /// Returns the descriptor of the poller (Unix), for use in another poll
    /// loop; see [`Node::as_fd`](crate::Node::as_fd).
    #[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.poller.as_fd()
    }

    fn has_work(&self) -> bool {
        !self.ready.is_empty() || self.wake_list.has_entries() || self.poller.is_full()
    }

    /// Waits for events and records them.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let deadline = self.deadlines.next();
        let Self {
            members,
            ready,
            poller,
            sockets,
            ..
        } = self;
        poller.wait(timeout, deadline, None, *sockets, |event| {
            let (member_tag, token) = (event.token >> MEMBER_SHIFT, event.token & TOKEN_MASK);
            // Tag 0 belongs to the waker. The wake list contains the members
            // that were woken.
            let Some(index) = member_tag.checked_sub(1) else {
                return;
            };
            if let Some(slot) = members.get_mut(index) {
                slot.member.note(Readiness { token, ..event });
                slot.enqueue(index, ready);
            }
        })
    }

    /// Finds the members that have a command or a deadline.
    fn collect(&mut self, now: Instant) {
        let mut woken = std::mem::take(&mut self.scratch);
        self.wake_list.take_into(&mut woken);
        woken.drain(..).for_each(|index| self.enqueue(index));
        self.scratch = woken;
        let mark = self.deadlines.mark();
        while let Some((_, _, index)) = self.deadlines.pop_due(now, mark, |_, _| None) {
            if let Some(slot) = self.members.get_mut(index) {
                slot.deadline = None;
            }
            self.enqueue(index);
        }
    }

    /// Records the state of a member after its turn.
    fn settle(&mut self, index: usize, after: &AfterTurn) {
        let Some(slot) = self.members.get_mut(index) else {
            return;
        };
        if after.has_stopped {
            slot.stopped = true;
            self.running -= 1;
        } else if after.has_work {
            slot.enqueue(index, &mut self.ready);
        }
        let before = std::mem::replace(&mut slot.sockets, after.sockets);
        self.sockets = self.sockets - before + slot.sockets;
        let next = after.deadline.filter(|_| !slot.stopped);
        slot.deadline = match (slot.deadline, next) {
            (Some((_, at)), Some(next)) if at == next => return,
            (Some((deadline, _)), Some(next)) => {
                self.deadlines.set(deadline, next);
                Some((deadline, next))
            }
            (Some((deadline, _)), None) => {
                self.deadlines.remove(deadline);
                None
            }
            (None, Some(next)) => Some((self.deadlines.insert(next, index).0, next)),
            (None, None) => None,
        };
    }
}
