//! A node: answers the requests of others, and runs lookups for its program.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::{ConnId, Handler, Net, TimerId, UdpId, UdpOptions};

use super::routing::{CONTACTS_MAX, K, Lookup, Table};
use super::wire::{self, Contact, DATAGRAM_LEN, Id, Message, VALUE_MAX};

/// How long a node waits for an answer, and how often it sends a request.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
const TRIES: u32 = 3;

/// How often a node looks for contacts. The first times it is more often, so that
/// nodes that join together find each other. The other timers have the tokens of
/// requests as keys.
const REFRESH_EVERY: Duration = Duration::from_secs(60);
const REFRESH: u64 = 0;

/// Maximum number of values of others, and of open requests at which unknown nodes
/// are asked as well.
const VALUES_MAX: usize = 1000;
const REQUESTS_MAX: usize = 256;

pub(crate) struct Dht {
    pub(crate) table: Table,
    udp: Option<UdpId>,
    refresh_after: Duration,
    /// Numbers that peers cannot guess, because an answer is recognized by the number
    /// that it repeats.
    random: Box<dyn FnMut() -> u64 + Send>,
    values: BTreeMap<Id, String>,
    requests: BTreeMap<u64, Request>,
    lookups: BTreeMap<u64, Lookup>,
    /// The lookups of values that are over, until the program takes them.
    pub(crate) finished: BTreeMap<u64, Lookup>,
}

/// A request that is not answered yet.
struct Request {
    to: Contact,
    message: Message,
    lookup: Option<u64>,
    /// How often it may still be sent.
    tries: u32,
}

impl Dht {
    /// A node that joins through these nodes.
    pub(crate) fn new(silent: Vec<Contact>, mut random: Box<dyn FnMut() -> u64 + Send>) -> Self {
        let (own, alive) = (Id::from(random()) << 64 | Id::from(random()), Vec::new());
        Self {
            table: Table { own, alive, silent },
            random,
            udp: None,
            refresh_after: ANSWER_WITHIN,
            values: BTreeMap::new(),
            requests: BTreeMap::new(),
            lookups: BTreeMap::new(),
            finished: BTreeMap::new(),
        }
    }

    /// Opens the socket. Returns the node as a contact of others.
    pub(crate) fn bind(&mut self, net: &mut Net, addr: SocketAddr) -> io::Result<Contact> {
        let options = UdpOptions {
            max_datagram_len: DATAGRAM_LEN,
            ..Default::default()
        };
        let udp = net.bind_udp(addr, options)?;
        self.udp = Some(udp);
        Ok((self.table.own, net.udp_addr(udp).unwrap_or(addr)))
    }

    /// Stores a value of at most [`VALUE_MAX`] bytes at the nodes closest to its key.
    /// Returns the number of the lookup, which is in `finished` in the end.
    pub(crate) fn store(&mut self, net: &mut Net, key: Id, value: &str) -> u64 {
        assert!(value.len() <= VALUE_MAX, "a value of {} bytes", value.len());
        self.look_up(net, Message::FindNode(key), key, Some(value.into()))
    }

    /// Looks for a value, like [`Dht::store`].
    pub(crate) fn find(&mut self, net: &mut Net, key: Id) -> u64 {
        let own = self.values.get(&key).cloned();
        self.look_up(net, Message::FindValue(key), key, own)
    }

    fn look_up(&mut self, net: &mut Net, request: Message, at: Id, value: Option<String>) -> u64 {
        let (number, mut lookup) = ((self.random)(), Lookup::new(request, at, value));
        lookup.add(self.table.closest(at, CONTACTS_MAX)); // More, if the closest are dead.
        self.lookups.insert(number, lookup);
        self.advance(net, number);
        number
    }

    /// Sends the next requests of a lookup, or ends it.
    fn advance(&mut self, net: &mut Net, number: u64) {
        if let Some(mut lookup) = self.lookups.remove(&number) {
            while let Some(to) = lookup.next() {
                self.ask(net, to, lookup.request.clone(), Some(number));
            }
            if !lookup.is_over() {
                self.lookups.insert(number, lookup);
            } else if !matches!(lookup.request, Message::FindNode(_)) {
                self.finished.insert(number, lookup);
            }
        }
    }

    fn ask(&mut self, net: &mut Net, to: Contact, message: Message, lookup: Option<u64>) {
        let request = Request {
            to,
            message,
            lookup,
            // The address of an unknown node may be forged. It gets one datagram.
            tries: if lookup.is_some() { TRIES } else { 1 },
        };
        let token = (self.random)();
        self.send_request(net, token, request);
    }

    /// Asks the sender of a request, if it is wanted as a contact. It becomes one when
    /// it answers, because its address may be forged.
    fn meet(&mut self, net: &mut Net, sender: Contact) {
        let is_asked = self.requests.values().any(|request| request.to == sender);
        if self.table.wants(sender.0) && !is_asked && self.requests.len() < REQUESTS_MAX {
            self.ask(net, sender, Message::FindNode(self.table.own), None);
        }
    }

    fn send_request(&mut self, net: &mut Net, token: u64, mut request: Request) {
        request.tries -= 1;
        self.send(net, request.to.1, token, &request.message);
        self.requests.insert(token, request);
        net.set_timer(ANSWER_WITHIN, token);
    }

    /// A datagram that finds no room is lost, like others.
    fn send(&self, net: &mut Net, to: SocketAddr, token: u64, message: &Message) {
        if let Some(udp) = self.udp {
            let _ = net.send_to(udp, &wire::encode(token, self.table.own, message), to);
        }
    }

    /// Asks the silent contacts again, and looks for contacts nearby and in about one
    /// other bucket. A node that is new looks in each bucket that has room.
    fn refresh(&mut self, net: &mut Net) {
        let (own, is_new) = (self.table.own, self.refresh_after < REFRESH_EVERY);
        for silent in self.table.silent.clone() {
            self.ask(net, silent, Message::FindNode(own), None);
        }
        self.look_up(net, Message::FindNode(own), own, None);
        let closest = self.table.closest(own, 1).first().map_or(own, |it| it.0);
        // Peers can choose ids that are very close.
        let buckets = u64::from((own ^ closest).leading_zeros().min(15) + 1);
        for bucket in 0..buckets {
            let target = own ^ (Id::from((self.random)() | 1 << 63) << 64) >> bucket;
            if is_new && self.table.wants(target) || (self.random)() % buckets == 0 {
                self.look_up(net, Message::FindNode(target), target, None);
            }
        }
        net.set_timer(self.refresh_after, REFRESH);
        self.refresh_after = REFRESH_EVERY.min(self.refresh_after * 4);
    }

    fn answer(&mut self, request: Message) -> Message {
        match request {
            Message::Store(key, value) => {
                self.values.insert(key, value);
                if self.values.len() > VALUES_MAX {
                    let own = self.table.own;
                    let farthest = self.values.keys().copied().max_by_key(|key| key ^ own);
                    farthest.map(|key| self.values.remove(&key));
                }
                Message::Stored
            }
            Message::FindValue(key) if self.values.contains_key(&key) => {
                Message::Value(self.values[&key].clone())
            }
            Message::FindValue(target) | Message::FindNode(target) => {
                Message::Nodes(self.table.closest(target, K))
            }
            answer => answer,
        }
    }

    /// Ends a request with its answer, or without one after the last try.
    fn end(&mut self, net: &mut Net, request: Request, answer: Option<Message>) {
        match answer {
            Some(_) => self.table.answered(request.to),
            // Several requests were sent. One may be lost, and says nothing.
            None if request.lookup.is_some() => self.table.failed(request.to),
            None => {}
        }
        let Some(number) = request.lookup else { return };
        if let Some(lookup) = self.lookups.get_mut(&number) {
            lookup.note(request.to, answer);
            self.advance(net, number);
        }
    }
}

impl Handler for Dht {
    fn on_start(&mut self, net: &mut Net) {
        self.refresh(net);
    }

    fn on_datagram(&mut self, net: &mut Net, _: UdpId, addr: SocketAddr, datagram: &[u8]) {
        match wire::decode(datagram) {
            Some((token, id, message)) if message.is_request() => {
                let answer = self.answer(message);
                self.send(net, addr, token, &answer);
                self.meet(net, (id, addr));
            }
            Some((token, id, answer)) => {
                // Without its request it is late, duplicated or forged.
                if let Some(request) = self.requests.remove(&token) {
                    let is_right = request.to == (id, addr) && answer.answers(&request.message);
                    self.end(net, request, is_right.then_some(answer));
                }
            }
            None => {} // Of another program.
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, key: u64) {
        match self.requests.remove(&key) {
            _ if key == REFRESH => self.refresh(net),
            Some(request) if request.tries > 0 => self.send_request(net, key, request),
            Some(request) => self.end(net, request, None),
            None => {} // It was answered.
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}
