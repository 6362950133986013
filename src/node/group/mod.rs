//! Many nodes on one thread.

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

/// Many nodes on one thread, which share one poll and one read buffer: a test
/// network of a thousand nodes, or a node for each room of a game.
///
/// Every member is a node with its own handler, configuration and [`Handle`].
/// Handlers of different types can be members of one group. Only the waiting is
/// done together: a turn of the group is one turn of each member that has
/// something to do. A member costs no file descriptor, where a
/// [`Node`](crate::Node) costs three.
///
/// Up to 65,535 members. For 64-bit targets only. A handler that is not `Send`
/// needs a [`Node`](crate::Node).
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
/// The methods that take the id of a member return `None` after the member was
/// removed. A member that has stopped stays until it is removed.
pub struct Group {
    // Dropped in this order: sockets before the poller that they are registered
    // with.
    members: Slab<MemberSlot>,
    /// How many of them have not stopped.
    running: usize,
    /// `Turn::Stopped` has been returned since a member last ran.
    stop_reported: bool,
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
    /// The number of the loops of all members: none may wait for another.
    loops: u64,
}

/// The place of a member.
struct MemberSlot {
    member: Box<dyn Member>,
    serial: u64,
    /// On the list of those to be run.
    queued: bool,
    sockets: usize,
    /// The slot and the time of its deadline, if one is set.
    deadline: Option<(u32, Instant)>,
    stopped: bool,
}

impl Group {
    /// Makes a group without members.
    ///
    /// # Errors
    ///
    /// - The error of the operating system if there is no file descriptor left
    ///   for the poller and its waker, which take three.
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

    /// Adds a node. [`Config::busy_poll`] has no effect, because the group does
    /// the waiting.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` with a [`ConfigError`](crate::error::ConfigError)
    ///   inside: a setting cannot work;
    /// - `QuotaExceeded`: there are 65,535 members.
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

    /// Removes a member, and returns its handler. Its sockets are closed at
    /// once, without callbacks. A connection with something left to send is
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

    /// The net that the callbacks of a member are given, for use between turns.
    pub fn net(&mut self, member: impl Into<AnyMemberId>) -> Option<&mut Net> {
        let (id, now) = (member.into(), self.poller.now());
        self.get(id)?;
        // The next turn does what is asked for here.
        self.enqueue(id.index);
        let slot = self.members.get_mut(id.index)?;
        Some(slot.member.net(now))
    }

    /// The handler of a member.
    pub fn handler<H: 'static>(&self, member: MemberId<H>) -> Option<&H> {
        Some(&self.inner(member)?.handler)
    }

    /// The handler of a member, to be changed.
    pub fn handler_mut<H: 'static>(&mut self, member: MemberId<H>) -> Option<&mut H> {
        Some(&mut self.inner_mut(member)?.handler)
    }

    /// Calls a function with the handler and the net of a member, between
    /// turns.
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

    /// A handle to a member, for other threads.
    pub fn handle<H: 'static>(&self, member: MemberId<H>) -> Option<Handle<H>> {
        Some(self.inner(member)?.handle())
    }

    /// The members that were not removed, in no particular order. Those that
    /// have stopped are among them. The ids are ordered as the members were
    /// added.
    pub fn members(&self) -> impl Iterator<Item = AnyMemberId> + '_ {
        self.members.iter().map(|(index, slot)| AnyMemberId {
            serial: slot.serial,
            index,
        })
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Shuts every member down, as [`Net::shutdown`] does.
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

    /// The members that have not stopped, in the order in which they were
    /// added.
    fn running_members(&self) -> Vec<AnyMemberId> {
        let is_running = |id: &AnyMemberId| self.get(*id).is_some_and(|slot| !slot.stopped);
        let mut running: Vec<_> = self.members().filter(is_running).collect();
        running.sort();
        running
    }

    /// The net of a member, to look at only.
    fn peek(&self, id: AnyMemberId) -> Option<&Net> {
        Some(self.get(id)?.member.peek())
    }

    /// Puts a member on the list of those to be run, once.
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

/// The tag of a member has 16 bits, and tag 0 is that of the waker.
const MEMBERS_MAX: usize = u16::MAX as usize;

/// The tag of a member, as it is added to its tokens.
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
