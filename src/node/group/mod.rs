//! Several nodes on one thread.

mod connect_all;
mod member;
mod run;

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use slab::Slab;

use self::member::Member;
pub use self::member::{AnyMemberId, MemberId};
use crate::buffers::ReadBuffer;
use crate::command_queue::{self, Inbox};
use crate::config::Config;
use crate::handler::Handler;
use crate::id::{MEMBER_SHIFT, WAKER_TOKEN};
use crate::net::Net;
use crate::node::handle::Handle;
use crate::node::inner::{NodeInner, give_name};
use crate::sys::{Poller, Wake, WakeList};
use crate::timers::Timers;

/// Several nodes on one thread, which share a poller and a read buffer.
/// Examples are a test network of a thousand nodes, or a node for each room of
/// a game.
///
/// Every member is a node with its own handler, configuration and [`Handle`].
/// Handlers of different types can be members of one group. Only waiting is
/// shared: a turn of the group runs one turn of each member that has work.
/// Apart from its sockets, a member needs no file descriptor, while a
/// [`Node`](crate::Node) needs three.
///
/// - A group has up to 65,535 members.
/// - Groups exist on 64-bit targets only.
/// - A handler must be `Send`. For other handlers use a [`Node`](crate::Node).
///
/// ```
/// use std::time::Duration;
/// use peerloop::config::OnPanic;
/// use peerloop::group::Group;
/// use peerloop::{Config, ConnId, Handler, Net, RunEnd};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
///         let _ = net.send(conn, message);
///     }
/// }
///
/// #[derive(Default)]
/// struct Asker(Option<Vec<u8>>);
///
/// impl Handler for Asker {
///     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
///         net.send(conn, b"hello").expect("a new connection has room");
///     }
///
///     fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
///         self.0 = Some(message.to_vec());
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let config = Config { on_panic: OnPanic::Unwind, ..Config::default() };
/// let mut group = Group::new()?;
/// let echo = group.add(config.clone(), Echo)?;
/// let asker = group.add(config, Asker::default())?;
/// let listening = group.net(echo).expect("a member").listen("127.0.0.1:0")?;
/// group.net(asker).expect("a member").connect(listening.addr)?;
/// let end = group.run_until(Duration::from_secs(10), |group| {
///     group.handler(asker).is_some_and(|asker| asker.0.is_some())
/// })?;
/// assert_eq!(end, RunEnd::Done);
/// # Ok(())
/// # }
/// ```
///
/// Methods that take the id of a member return `None` after the member was
/// removed. A member that has stopped stays until it is removed.
pub struct Group {
    // The fields are dropped in this order, because sockets must be dropped
    // before the poller that they are registered with.
    members: Slab<MemberSlot>,
    /// Number of members that have not stopped.
    running: usize,
    /// `Turn::Stopped` has been returned since a member last ran.
    stop_reported: bool,
    /// Members to run in this turn or the next, each once.
    ready: Vec<usize>,
    scratch: Vec<usize>,
    /// The next deadline of each member that has one.
    deadlines: Timers<usize>,
    next_serial: u64,
    /// Number of sockets of all members.
    sockets: usize,
    buffer: ReadBuffer,
    wake: Wake,
    wake_list: WakeList,
    poller: Poller,
    /// The number of the loops of all members, which must not wait for each
    /// other.
    loops: u64,
}

/// A member and its state in the group.
struct MemberSlot {
    member: Box<dyn Member>,
    serial: u64,
    /// The member is on the list of members to run.
    queued: bool,
    sockets: usize,
    /// The slot and the time of its deadline, if there is one.
    deadline: Option<(u32, Instant)>,
    stopped: bool,
}

impl Group {
    /// Creates a group without members.
    ///
    /// # Errors
    ///
    /// - The error of the operating system if the poller and its waker cannot
    ///   be created. They take three file descriptors.
    pub fn new() -> io::Result<Self> {
        let poller = Poller::new(None)?;
        Ok(Self {
            members: Slab::new(),
            running: 0,
            stop_reported: true,
            ready: Vec::new(),
            scratch: Vec::new(),
            deadlines: Timers::new(poller.now()),
            next_serial: 0,
            sockets: 0,
            buffer: ReadBuffer::new(0),
            wake: poller.registrar().waker(WAKER_TOKEN)?,
            wake_list: WakeList::default(),
            poller,
            loops: command_queue::number(),
        })
    }

    /// Adds a node, and returns its id. [`Config::busy_poll`] has no effect,
    /// because the group does the waiting.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` with a [`ConfigError`](crate::error::ConfigError)
    ///   inside if a setting is invalid, or `Unsupported` if this
    ///   system lacks an option;
    /// - `QuotaExceeded` if there are 65,535 members.
    pub fn add<H: Handler + Send + 'static>(
        &mut self,
        mut config: Config,
        handler: H,
    ) -> io::Result<MemberId<H>> {
        if self.members.len() >= MEMBERS_MAX {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "the group is full",
            ));
        }
        config.validate()?;
        give_name(&mut config);
        let read_buffer = config.read_buffer_bytes;
        let entry = self.members.vacant_entry();
        let index = entry.key();
        let registrar = self.poller.registrar().with_member_tag(member_tag(index));
        let wake = self.wake.for_member(index, self.wake_list.clone());
        let inbox = Inbox::new(self.loops, wake, &config);
        let inner = NodeInner::new(config, handler, registrar, inbox, None);
        self.buffer.grow(read_buffer);
        let serial = self.next_serial;
        self.next_serial += 1;
        entry.insert(MemberSlot {
            member: Box::new(inner),
            serial,
            queued: false,
            sockets: 0,
            deadline: None,
            stopped: false,
        });
        self.running += 1;
        self.stop_reported = false;
        self.enqueue(index);
        Ok(MemberId::new(AnyMemberId { serial, index }))
    }

    /// Removes a member and returns its handler. Its sockets are closed at
    /// once, without callbacks. A connection that has bytes left to send is
    /// reset.
    pub fn remove<H: 'static>(&mut self, member: MemberId<H>) -> Option<H> {
        self.inner(member)?;
        let slot = self.members.try_remove(AnyMemberId::from(member).index)?;
        if let Some((deadline, _)) = slot.deadline {
            self.deadlines.remove(deadline);
        }
        self.running -= usize::from(!slot.stopped);
        self.sockets -= slot.sockets;
        let inner = slot.member.into_any().downcast::<NodeInner<H>>().ok()?;
        Some(inner.handler)
    }

    /// Returns the net of a member, for use between turns.
    pub fn net(&mut self, member: impl Into<AnyMemberId>) -> Option<&mut Net> {
        let (id, now) = (member.into(), self.poller.now());
        self.get(id)?;
        // The next turn does the requested work.
        self.enqueue(id.index);
        let slot = self.members.get_mut(id.index)?;
        Some(slot.member.net(now))
    }

    /// Returns the handler of a member.
    pub fn handler<H: 'static>(&self, member: MemberId<H>) -> Option<&H> {
        Some(&self.inner(member)?.handler)
    }

    /// Returns the handlers of these members, in the order of the ids. Members
    /// that were removed are skipped.
    ///
    /// ```
    /// use peerloop::group::Group;
    /// use peerloop::{Config, ConnId, Handler, Net};
    ///
    /// struct Player {
    ///     points: u32,
    /// }
    ///
    /// impl Handler for Player {
    ///     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {
    ///         self.points += 1;
    ///     }
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut group = Group::new()?;
    /// let mut team = Vec::new();
    /// for points in [1, 2, 3] {
    ///     team.push(group.add(Config::default(), Player { points })?);
    /// }
    /// let points = group.handlers(&team).map(|player| player.points);
    /// assert_eq!(points.sum::<u32>(), 6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn handlers<H: 'static>(&self, members: &[MemberId<H>]) -> impl Iterator<Item = &H> {
        members.iter().filter_map(|member| self.handler(*member))
    }

    /// Returns the handler of a member, mutably.
    pub fn handler_mut<H: 'static>(&mut self, member: MemberId<H>) -> Option<&mut H> {
        Some(&mut self.inner_mut(member)?.handler)
    }

    /// Calls a function with the handler and the net of a member, between
    /// turns, and returns its result.
    pub fn with<H: 'static, R>(
        &mut self,
        member: MemberId<H>,
        call: impl FnOnce(&mut H, &mut Net) -> R,
    ) -> Option<R> {
        let (id, now) = (AnyMemberId::from(member), self.poller.now());
        self.get(id)?;
        self.enqueue(id.index);
        Some(self.inner_mut(member)?.with(now, call))
    }

    /// Returns a handle to a member, for other threads.
    pub fn handle<H: 'static>(&self, member: MemberId<H>) -> Option<Handle<H>> {
        Some(self.inner(member)?.handle())
    }

    /// Returns the members, in no particular order, including members that have
    /// stopped. Ids are ordered as the members were added.
    pub fn members(&self) -> impl Iterator<Item = AnyMemberId> + '_ {
        self.members.iter().map(|(index, slot)| AnyMemberId {
            serial: slot.serial,
            index,
        })
    }

    /// Returns the number of members, including members that have stopped.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Shuts all members down, as [`Net::shutdown`] does for one.
    pub fn shutdown(&mut self, grace: Duration) {
        let members: Vec<_> = self.members().collect();
        for member in members {
            if let Some(net) = self.net(member) {
                net.shutdown(grace);
            }
        }
    }

    fn get(&self, id: AnyMemberId) -> Option<&MemberSlot> {
        let slot = self.members.get(id.index);
        slot.filter(|slot| slot.serial == id.serial)
    }

    fn inner<H: 'static>(&self, member: MemberId<H>) -> Option<&NodeInner<H>> {
        self.get(member.into())?.member.as_any().downcast_ref()
    }

    fn inner_mut<H: 'static>(&mut self, member: MemberId<H>) -> Option<&mut NodeInner<H>> {
        let id = AnyMemberId::from(member);
        let slot = self.members.get_mut(id.index);
        let slot = slot.filter(|slot| slot.serial == id.serial)?;
        slot.member.as_any_mut().downcast_mut()
    }

    /// Returns the members that have not stopped, in the order in which they
    /// were added.
    fn running_members(&self) -> Vec<AnyMemberId> {
        let is_running = |id: &AnyMemberId| self.get(*id).is_some_and(|slot| !slot.stopped);
        let mut running: Vec<_> = self.members().filter(is_running).collect();
        running.sort();
        running
    }

    /// Returns the net of a member, immutably.
    fn peek(&self, id: AnyMemberId) -> Option<&Net> {
        Some(self.get(id)?.member.peek())
    }

    /// Adds a member to the list of members to run, once.
    fn enqueue(&mut self, index: usize) {
        if let Some(slot) = self.members.get_mut(index) {
            slot.enqueue(index, &mut self.ready);
        }
    }
}

impl MemberSlot {
    fn enqueue(&mut self, index: usize, ready: &mut Vec<usize>) {
        if !std::mem::replace(&mut self.queued, true) {
            ready.push(index);
        }
    }
}

/// Maximum number of members. A tag has 16 bits, and tag 0 belongs to the
/// waker.
const MEMBERS_MAX: usize = u16::MAX as usize;

/// Returns the tag of a member, as it is added to its tokens.
fn member_tag(index: usize) -> usize {
    (index + 1) << MEMBER_SHIFT
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("members", &self.members.len())
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}
