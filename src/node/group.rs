//! Many nodes on one thread.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::buffers::ReadBuffer;
use crate::config::Config;
use crate::handler::Handler;
use crate::id::{LANE_SHIFT, TOKEN_MASK, WAKER_TOKEN};
use crate::net::Net;
use crate::node::Turn;
use crate::node::handle::Handle;
use crate::node::inner::NodeInner;
use crate::sys::{Poller, Readiness, Wake, WakeList};
use crate::timers::Timers;

/// Many nodes on one thread, sharing one poll and one read buffer: a test mesh of a thousand nodes, or a node for each
/// room of a game.
///
/// Every member is a node of its own, with its own handler, limits and [`Handle`]; only the waiting is done together, and
/// a turn of the group is one turn of each member that has something to do. A member costs no descriptor, a
/// [`Node`](crate::Node) three. Handlers of different kinds are members as `Box<dyn Handler>`. There can be 65,535
/// members. For 64-bit targets only.
///
/// ```
/// use std::time::Duration;
/// use peerloop::{Config, ConnId, Group, Handler, Net};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
///         let _ = net.send(conn, message);
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let mut group = Group::new()?;
/// let a = group.add(Config::default(), Echo)?;
/// let b = group.add(Config::default(), Echo)?;
/// let addr = group.net(a).expect("it was just added").listen("127.0.0.1:0")?;
/// group.net(b).expect("it was just added").connect(addr)?;
/// # group.shutdown(Duration::ZERO);
/// group.run()
/// # }
/// ```
pub struct Group<H> {
    // Dropped in this order: sockets before the poller that they are registered with.
    members: Slab<Member<H>>,
    /// How many of them have not stopped.
    running: usize,
    /// Members to be run in this turn or the next, each once.
    ready: Vec<usize>,
    scratch: Vec<usize>,
    /// The next deadline of each member that has one.
    deadlines: Timers<usize>,
    next_serial: u64,
    /// How many sockets the members have.
    sockets: usize,
    buffer: ReadBuffer,
    wake: Wake,
    wake_list: WakeList,
    poller: Poller,
}

/// The name of one member of a [`Group`], never given out twice by the same group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MemberId {
    index: usize,
    serial: u64,
}

struct Member<H> {
    inner: NodeInner<H>,
    serial: u64,
    /// On the list of those to be run.
    queued: bool,
    sockets: usize,
    /// The slot and the time of its deadline, if one is set.
    deadline: Option<(u32, Instant)>,
    stopped: bool,
}

impl<H: Handler> Group<H> {
    /// Makes a group without members.
    ///
    /// # Errors
    ///
    /// - What the system says when there is no descriptor left for the poller and its waker (it takes three).
    pub fn new() -> io::Result<Self> {
        let poller = Poller::new(None)?;
        Ok(Self {
            members: Slab::new(),
            running: 0,
            ready: Vec::new(),
            scratch: Vec::new(),
            deadlines: Timers::new(poller.now()),
            next_serial: 0,
            sockets: 0,
            buffer: ReadBuffer::new(0),
            wake: poller.registrar().waker(WAKER_TOKEN)?,
            wake_list: WakeList::default(),
            poller,
        })
    }

    /// Adds a node. [`Config::busy_poll`] is not looked at: the waiting is the group's.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` with a [`ConfigError`](crate::ConfigError) inside when a setting cannot work;
    /// - `QuotaExceeded` when there are 65,535 members.
    pub fn add(&mut self, config: Config, handler: H) -> io::Result<MemberId> {
        if self.members.len() >= MEMBERS_MAX {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "the group is full",
            ));
        }
        let read_buffer = config.read_buffer;
        let entry = self.members.vacant_entry();
        let index = entry.key();
        let registrar = self.poller.registrar().with_member_tag(member_tag(index));
        let wake = self.wake.on_behalf_of(index, self.wake_list.clone());
        let inner = NodeInner::new(config, handler, registrar, |_| Ok(wake))?;
        self.buffer.grow(read_buffer);
        let serial = self.next_serial;
        self.next_serial += 1;
        entry.insert(Member {
            inner,
            serial,
            queued: false,
            sockets: 0,
            deadline: None,
            stopped: false,
        });
        self.running += 1;
        self.enqueue(index);
        Ok(MemberId { index, serial })
    }

    /// Closes everything of one member at once, without callbacks, and gives its handler back; `None` if it is gone.
    pub fn remove(&mut self, member: MemberId) -> Option<H> {
        self.get(member)?;
        let member = self.members.try_remove(member.index)?;
        if let Some((slot, _)) = member.deadline {
            self.deadlines.remove(slot);
        }
        self.running -= usize::from(!member.stopped);
        self.sockets -= member.sockets;
        Some(member.inner.handler)
    }

    /// What a member's handler is given, for use between turns; `None` if it is gone.
    pub fn net(&mut self, member: MemberId) -> Option<&mut Net> {
        self.get(member)?;
        // Whatever is asked for here is done in the next turn.
        self.enqueue(member.index);
        let now = self.poller.now();
        let member = self.members.get_mut(member.index)?;
        Some(member.inner.net(now))
    }

    /// A member's handler; `None` if it is gone.
    pub fn handler(&self, member: MemberId) -> Option<&H> {
        Some(&self.get(member)?.inner.handler)
    }

    /// A member's handler, to be changed; `None` if it is gone.
    pub fn handler_mut(&mut self, member: MemberId) -> Option<&mut H> {
        self.get(member)?;
        let member = self.members.get_mut(member.index)?;
        Some(&mut member.inner.handler)
    }

    /// A handle on a member, for other threads; `None` if it is gone.
    pub fn handle(&self, member: MemberId) -> Option<Handle<H>> {
        Some(self.get(member)?.inner.handle())
    }

    /// The members that were not removed, stopped ones included, in no particular order.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.members.iter().map(|(index, member)| MemberId {
            index,
            serial: member.serial,
        })
    }

    /// How many members there are; does not count them.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Ends every member, as by [`Net::shutdown`].
    pub fn shutdown(&mut self, grace: Duration) {
        let members: Vec<MemberId> = self.members().collect();
        for member in members {
            if let Some(net) = self.net(member) {
                net.shutdown(grace);
            }
        }
    }

    /// Runs until every member has stopped. Without members that is at once.
    ///
    /// # Errors
    ///
    /// Only what makes it impossible to wait for events at all.
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn(None)? != Turn::Stopped {}
        Ok(())
    }

    /// Waits as [`Node::turn`](crate::Node::turn) does, and runs one turn of each member that has something to do.
    ///
    /// # Errors
    ///
    /// As [`Group::run`].
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turn> {
        if self.running == 0 {
            return Ok(Turn::Stopped);
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
            if let Some(member) = self.members.get_mut(index) {
                member.queued = false;
                if !member.stopped {
                    member.inner.turn(&mut self.buffer, now);
                    self.settle(index);
                }
            }
        }
        self.scratch = run;
        Ok(if self.running == 0 {
            Turn::Stopped
        } else if self.has_work() {
            Turn::Busy
        } else {
            Turn::Waiting
        })
    }

    /// How long a foreign loop may wait; see [`Node::timeout`](crate::Node::timeout).
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

    /// The poller's descriptor (Unix only), for another poll loop to wait on; see [`Node::as_fd`](crate::Node::as_fd).
    #[cfg(unix)]
    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.poller.as_fd()
    }

    fn get(&self, id: MemberId) -> Option<&Member<H>> {
        self.members
            .get(id.index)
            .filter(|member| member.serial == id.serial)
    }

    fn has_work(&self) -> bool {
        !self.ready.is_empty() || self.poller.is_full()
    }

    /// Puts a member on the list of those to be run, once.
    fn enqueue(&mut self, index: usize) {
        if let Some(member) = self.members.get_mut(index) {
            member.enqueue(index, &mut self.ready);
        }
    }

    /// Waits, and writes down what happened.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let deadline = self.deadlines.next();
        let Self {
            members,
            ready,
            poller,
            sockets,
            ..
        } = self;
        poller.wait(timeout, deadline, *sockets, |event| {
            let (member_tag, token) = (event.token >> LANE_SHIFT, event.token & TOKEN_MASK);
            // Lane 0 is the waker's; what it means is known to the bell.
            let Some(index) = member_tag.checked_sub(1) else {
                return;
            };
            if let Some(member) = members.get_mut(index) {
                member.inner.note(Readiness { token, ..event });
                member.enqueue(index, ready);
            }
        })
    }

    /// Finds out who has something to do beside: for a command or a deadline.
    fn collect(&mut self, now: Instant) {
        let mut called = std::mem::take(&mut self.scratch);
        self.wake_list.answer(&mut called);
        called.drain(..).for_each(|index| self.enqueue(index));
        self.scratch = called;
        let mark = self.deadlines.mark();
        while let Some((_, _, index)) = self.deadlines.pop_due(now, mark) {
            if let Some(member) = self.members.get_mut(index) {
                member.deadline = None;
            }
            self.enqueue(index);
        }
    }

    /// Remembers what a member has left to do.
    fn settle(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(index) else {
            return;
        };
        if member.inner.has_stopped() {
            member.stopped = true;
            self.running -= 1;
        } else if member.inner.has_work() {
            member.enqueue(index, &mut self.ready);
        }
        let before = std::mem::replace(&mut member.sockets, member.inner.sockets());
        self.sockets = self.sockets - before + member.sockets;
        let next = member.inner.next_deadline().filter(|_| !member.stopped);
        member.deadline = match (member.deadline, next) {
            (Some((_, at)), Some(next)) if at == next => return,
            (Some((slot, _)), Some(next)) => {
                self.deadlines.set(slot, next);
                Some((slot, next))
            }
            (Some((slot, _)), None) => {
                self.deadlines.remove(slot);
                None
            }
            (None, Some(next)) => Some((self.deadlines.insert(next, index).0, next)),
            (None, None) => None,
        };
    }
}

impl<H> Member<H> {
    fn enqueue(&mut self, index: usize, ready: &mut Vec<usize>) {
        if !std::mem::replace(&mut self.queued, true) {
            ready.push(index);
        }
    }
}

/// Lanes are told in 16 bits, and lane 0 is the waker's.
const MEMBERS_MAX: usize = u16::MAX as usize;

/// The lane of a member, as it is added to its tokens.
fn member_tag(index: usize) -> usize {
    (index + 1) << LANE_SHIFT
}

impl<H> fmt::Debug for Group<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("members", &self.members.len())
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}
