//! The handler of a node.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use peerloop::{ConnId, Handler, Net, TimerId};

pub(crate) const PORT: u16 = 7000;

/// How often a node tells a neighbour what it knows, and connects to its neighbours.
pub(crate) const TELL_EVERY: Duration = Duration::from_millis(200);
const CONNECT_EVERY: Duration = Duration::from_secs(1);

/// The keys of the two timers.
const TELL: u64 = 0;
const CONNECT: u64 = 1;

pub(crate) struct Gossip {
    /// The nodes that it connects to. Others connect to it.
    neighbours: Vec<SocketAddr>,
    /// The rumours that it knows, a bit for each.
    pub(crate) known: u64,
    /// The host that told it the last of them.
    pub(crate) told_by: Option<IpAddr>,
    /// Number of messages that it has received.
    pub(crate) received: u64,
    /// When it begins to tell, so that not all do at the same time.
    tells_after: Duration,
    /// The index of the next connection to tell.
    next: usize,
}

impl Gossip {
    pub(crate) fn new(neighbours: Vec<SocketAddr>, tells_after: Duration) -> Self {
        Self {
            neighbours,
            known: 0,
            told_by: None,
            received: 0,
            tells_after,
            next: 0,
        }
    }

    fn connect(&self, net: &mut Net) {
        for addr in &self.neighbours {
            // A connected neighbour is refused as a duplicate. After a failure
            // the next timer connects again.
            let _ = net.connect(*addr);
        }
        net.set_timer(CONNECT_EVERY, CONNECT);
    }

    /// Tells one neighbour after the other, and again, because a connection may
    /// break before the message has arrived.
    fn tell(&mut self, net: &mut Net) {
        if self.known != 0 && net.connection_count() > 0 {
            self.next = (self.next + 1) % net.connection_count();
            let neighbour = net.connections().map(|c| c.id()).nth(self.next);
            if let Some(neighbour) = neighbour {
                let _ = net.send(neighbour, &self.known.to_be_bytes());
            }
        }
        net.set_timer(TELL_EVERY, TELL);
    }
}

impl Handler for Gossip {
    fn on_start(&mut self, net: &mut Net) {
        if let Err(error) = net.listen((Ipv4Addr::UNSPECIFIED, PORT)) {
            log::error!("listening on port {PORT}: {error}");
        }
        self.connect(net);
        net.set_timer(self.tells_after, TELL);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let Ok(told) = message.try_into().map(u64::from_be_bytes) else {
            return net.abort(conn);
        };
        self.received += 1;
        if self.known | told != self.known {
            self.known |= told;
            self.told_by = net.connection(conn).map(|it| it.info().addr.ip());
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, key: u64) {
        match key {
            CONNECT => self.connect(net),
            _ => self.tell(net),
        }
    }
}
