//! The contacts of a node, and a lookup. Neither sends anything itself.

use super::wire::{Contact, Id, Message};

/// Number of contacts in a bucket and in an answer, and of copies of a value. The
/// paper has 20. An answer with 8 fits into a datagram.
pub(crate) const K: usize = 8;

/// Number of requests of a lookup that wait for an answer at the same time.
const ALPHA: usize = 3;

/// Maximum number of candidates of a lookup and of silent contacts, and of the
/// requests of a lookup before it stores a value, whatever others answer.
pub(crate) const CONTACTS_MAX: usize = 64;
const REQUESTS_MAX: u32 = 64;

/// A bucket has the contacts whose ids begin with the same bits as that of the node,
/// up to some place, and differ there.
pub(crate) struct Table {
    pub(crate) own: Id,
    /// Contacts that have answered.
    pub(crate) alive: Vec<Contact>,
    /// Contacts that have not answered, the oldest first. They may have crashed, or
    /// be beyond a partition that heals.
    pub(crate) silent: Vec<Contact>,
}

impl Table {
    /// Whether a node is unknown, and its bucket has room.
    pub(crate) fn wants(&self, id: Id) -> bool {
        let prefix = |id: Id| (self.own ^ id).leading_zeros();
        let bucket = self.alive.iter().filter(|it| prefix(it.0) == prefix(id));
        id != self.own && bucket.count() < K && self.alive.iter().all(|it| it.0 != id)
    }

    /// Notes that a contact has answered. A full bucket keeps its contacts,
    /// because nodes that were up for long stay up, and no peer can flush them out.
    pub(crate) fn answered(&mut self, contact: Contact) {
        self.silent.retain(|it| it.0 != contact.0);
        if self.wants(contact.0) {
            self.alive.push(contact);
        }
    }

    /// Makes room for another contact, because this one has not answered.
    pub(crate) fn failed(&mut self, contact: Contact) {
        if let Some(at) = self.alive.iter().position(|it| *it == contact) {
            self.silent.push(self.alive.swap_remove(at));
        }
        self.silent
            .drain(..self.silent.len().saturating_sub(CONTACTS_MAX));
    }

    /// The contacts closest to an id. Without contacts that are alive they are those
    /// that the node was started with, and silent ones.
    pub(crate) fn closest(&self, target: Id, count: usize) -> Vec<Contact> {
        let is_alone = self.alive.is_empty();
        let mut contacts = if is_alone { &self.silent } else { &self.alive }.clone();
        contacts.sort_by_key(|it| it.0 ^ target);
        contacts.truncate(count);
        contacts
    }
}

/// Asks the closest nodes that it knows for closer ones, until the closest have
/// answered. Then it stores a value at them, if it has one.
pub(crate) struct Lookup {
    pub(crate) request: Message,
    target: Id,
    /// The value to store, or the value that was found.
    pub(crate) value: Option<String>,
    /// The closest first.
    candidates: Vec<Candidate>,
    pub(crate) requests: u32,
    /// Number of nodes that led to the last one that has answered, with itself.
    pub(crate) hops: u32,
}

struct Candidate {
    contact: Contact,
    hops: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Asked,
    Answered,
    Silent,
}

impl Lookup {
    pub(crate) fn new(request: Message, target: Id, value: Option<String>) -> Self {
        Self {
            request,
            target,
            value,
            candidates: Vec::new(),
            requests: 0,
            hops: 0,
        }
    }

    pub(crate) fn add(&mut self, contacts: Vec<Contact>) {
        let (hops, state) = (self.hops + 1, State::New);
        let candidate = |contact| Candidate {
            contact,
            hops,
            state,
        };
        self.candidates.extend(contacts.into_iter().map(candidate));
        // The sort is stable, so that the older of two with the same id is kept.
        self.candidates.sort_by_key(|it| it.contact.0 ^ self.target);
        self.candidates.dedup_by_key(|it| it.contact.0);
        self.candidates.truncate(CONTACTS_MAX);
    }

    fn count(&self, state: State) -> usize {
        self.candidates.iter().filter(|c| c.state == state).count()
    }

    /// The next node to send the request to, if one is to be asked now.
    pub(crate) fn next(&mut self) -> Option<Contact> {
        let asked = self.count(State::Asked);
        if self.is_found() || asked == ALPHA {
            return None;
        }
        let may_ask = self.requests < REQUESTS_MAX || matches!(self.request, Message::Store(..));
        let candidates = self.candidates.iter_mut();
        let mut closest = candidates.filter(|it| it.state != State::Silent).take(K);
        let Some(next) = closest.find(|it| may_ask && it.state == State::New) else {
            return if asked == 0 { self.store() } else { None };
        };
        next.state = State::Asked;
        self.requests += 1;
        Some(next.contact)
    }

    /// Goes on to store the value at the nodes that were found, if there is one.
    fn store(&mut self) -> Option<Contact> {
        let finds_nodes = matches!(self.request, Message::FindNode(_));
        let value = self.value.clone().filter(|_| finds_nodes)?;
        self.request = Message::Store(self.target, value);
        self.candidates.retain(|it| it.state == State::Answered);
        self.candidates.truncate(K);
        let candidates = self.candidates.iter_mut();
        candidates.for_each(|it| it.state = State::New);
        self.next()
    }

    /// Notes the answer of a node. Without an answer the node is silent.
    pub(crate) fn note(&mut self, from: Contact, answer: Option<Message>) {
        let mut candidates = self.candidates.iter_mut();
        let node = candidates.find(|it| it.contact == from);
        let Some(node) = node else { return };
        node.state = State::Answered;
        self.hops = node.hops;
        match answer {
            Some(Message::Nodes(nodes)) => self.add(nodes.into_iter().take(K).collect()),
            Some(Message::Value(value)) => self.value = Some(value),
            Some(_) => {}
            None => node.state = State::Silent,
        }
    }

    fn is_found(&self) -> bool {
        matches!(self.request, Message::FindValue(_)) && self.value.is_some()
    }

    /// Whether it has ended, when there is no next node.
    pub(crate) fn is_over(&self) -> bool {
        self.is_found() || self.count(State::Asked) == 0
    }

    /// Number of nodes that have stored the value, in the end.
    pub(crate) fn copies(&self) -> usize {
        self.count(State::Answered)
    }
}
