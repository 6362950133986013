//! The connections of a broadcast.

use crate::connection::{ConnEntry, Table};
use crate::id::ConnId;

/// The connections of a broadcast, in order. Each is looked up once.
pub(super) trait Targets {
    /// Returns the next connection, or its id if it is not in the table.
    fn next<'a>(
        &mut self,
        conns: &'a mut Table<ConnEntry>,
    ) -> Option<Result<&'a mut ConnEntry, ConnId>>;

    /// Returns the id of the next connection.
    fn next_id(&mut self, conns: &mut Table<ConnEntry>) -> Option<ConnId>;
}

/// The connections that the program has named.
pub(super) struct Ids<I>(pub(super) I);

impl<I: Iterator<Item = ConnId>> Targets for Ids<I> {
    #[inline]
    fn next<'a>(
        &mut self,
        conns: &'a mut Table<ConnEntry>,
    ) -> Option<Result<&'a mut ConnEntry, ConnId>> {
        let conn = self.0.next()?;
        Some(conns.get_mut(conn).ok_or(conn))
    }

    #[inline]
    fn next_id(&mut self, _: &mut Table<ConnEntry>) -> Option<ConnId> {
        self.0.next()
    }
}

/// All open connections of the loop except one. They are found by their slots,
/// because a list of their ids would be a second pass over the table.
pub(super) struct AllExcept {
    except: Option<ConnId>,
    slot: usize,
}

impl AllExcept {
    #[inline]
    pub(super) fn new(except: Option<ConnId>) -> Self {
        Self { except, slot: 0 }
    }
}

impl Targets for AllExcept {
    #[inline]
    fn next<'a>(
        &mut self,
        conns: &'a mut Table<ConnEntry>,
    ) -> Option<Result<&'a mut ConnEntry, ConnId>> {
        let except = self.except;
        let is_wanted = |entry: &ConnEntry| entry.is_open() && Some(entry.id()) != except;
        conns.next_mut(&mut self.slot, is_wanted).map(Ok)
    }

    fn next_id(&mut self, conns: &mut Table<ConnEntry>) -> Option<ConnId> {
        self.next(conns)?.ok().map(|entry| entry.id())
    }
}
