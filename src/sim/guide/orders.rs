use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use peerloop::{ConnId, Handler, Net, TimerId};

const PORT: u16 = 7000;
const RETRY_EVERY: Duration = Duration::from_secs(2);

/// Stores orders, and confirms each once it is on the disk.
#[derive(Default)]
struct Store {
    disk: BTreeSet<u64>,
}

impl Handler for Store {
    fn on_start(&mut self, net: &mut Net) {
        net.listen((Ipv4Addr::UNSPECIFIED, PORT))
            .expect("the port is free");
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let Ok(order) = message.try_into().map(u64::from_be_bytes) else {
            return net.abort(conn);
        };
        self.disk.insert(order);
        // Without room for the answer, the till sends the order again.
        let _ = net.send(conn, message);
    }
}

/// Sends orders, each again and again until it is confirmed.
struct Till {
    store: SocketAddr,
    open: BTreeSet<u64>,
    confirmed: BTreeSet<u64>,
}

impl Till {
    fn new(store: SocketAddr) -> Self {
        Self {
            store,
            open: BTreeSet::new(),
            confirmed: BTreeSet::new(),
        }
    }

    fn order(&mut self, net: &mut Net, order: u64) {
        self.open.insert(order);
        self.send_open(net);
    }

    fn send_open(&self, net: &mut Net) {
        let connected = net.connections().next().map(|conn| conn.id());
        let Some(conn) = connected else {
            // An error while an earlier attempt is in progress.
            let _ = net.connect(self.store);
            return;
        };
        for order in &self.open {
            let _ = net.send(conn, &order.to_be_bytes());
        }
    }
}

impl Handler for Till {
    fn on_start(&mut self, net: &mut Net) {
        self.send_open(net);
        net.set_timer(RETRY_EVERY, 0);
    }

    fn on_connect(&mut self, net: &mut Net, _: ConnId) {
        self.send_open(net);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let Ok(order) = message.try_into().map(u64::from_be_bytes) else {
            return net.abort(conn);
        };
        if self.open.remove(&order) {
            self.confirmed.insert(order);
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        self.send_open(net);
        net.set_timer(RETRY_EVERY, 0);
    }
}
