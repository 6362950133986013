//! The members of a group, independent of the types of their handlers, and
//! their ids.

use std::any::Any;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::time::Instant;

use crate::buffers::ReadBuffer;
use crate::handler::Handler;
use crate::net::Net;
use crate::node::inner::NodeInner;
use crate::sys::Readiness;

/// The id of a member of a [`Group`](crate::group::Group) whose handler has the
/// type `H`. A group never gives out an id twice.
pub struct MemberId<H> {
    id: AnyMemberId,
    handler: PhantomData<fn() -> H>,
}

/// The id of a member of a [`Group`](crate::group::Group), independent of the
/// type of its handler.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AnyMemberId {
    /// The first field, so that ids are ordered as the members were added.
    pub(super) serial: u64,
    pub(super) index: usize,
}

impl<H> MemberId<H> {
    pub(super) fn new(id: AnyMemberId) -> Self {
        Self {
            id,
            handler: PhantomData,
        }
    }
}

impl<H> From<MemberId<H>> for AnyMemberId {
    fn from(member: MemberId<H>) -> Self {
        member.id
    }
}

// A derive would require these traits of the handler.
impl<H> Clone for MemberId<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for MemberId<H> {}

impl<H> PartialEq for MemberId<H> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<H> Eq for MemberId<H> {}

impl<H> PartialOrd for MemberId<H> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<H> Ord for MemberId<H> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }
}

impl<H> Hash for MemberId<H> {
    fn hash<S: Hasher>(&self, state: &mut S) {
        self.id.hash(state);
    }
}

impl<H> fmt::Debug for MemberId<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemberId").field(&self.id.serial).finish()
    }
}

/// A node of a group.
pub(super) trait Member: Any + Send {
    /// Records an event.
    fn note(&mut self, ready: Readiness);

    /// Runs one turn.
    fn turn(&mut self, buffer: &mut ReadBuffer, now: Instant) -> AfterTurn;

    fn net(&mut self, now: Instant) -> &mut Net;

    /// Returns the net, immutably.
    fn peek(&self) -> &Net;

    fn as_any(&self) -> &dyn Any;

    fn as_any_mut(&mut self) -> &mut dyn Any;

    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// The state of a member after a turn that the group needs.
pub(super) struct AfterTurn {
    pub(super) has_stopped: bool,
    pub(super) has_work: bool,
    pub(super) sockets: usize,
    pub(super) deadline: Option<Instant>,
}

impl<H: Handler + Send + 'static> Member for NodeInner<H> {
    fn note(&mut self, ready: Readiness) {
        Self::note(self, ready);
    }

    fn turn(&mut self, buffer: &mut ReadBuffer, now: Instant) -> AfterTurn {
        Self::turn(self, buffer, now);
        AfterTurn {
            has_stopped: self.has_stopped(),
            has_work: self.has_work(),
            sockets: self.sockets(),
            deadline: self.next_deadline(),
        }
    }

    fn net(&mut self, now: Instant) -> &mut Net {
        Self::net(self, now)
    }

    fn peek(&self) -> &Net {
        Self::peek(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
