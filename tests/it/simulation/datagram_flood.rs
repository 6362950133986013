//! Peers and timers of a node beside a flood of datagrams.

use super::*;
use peerloop::{UdpId, UdpOptions};

/// Sends 300 datagrams each millisecond.
struct Flood {
    to: SocketAddr,
    udp: Option<UdpId>,
}

impl Handler for Flood {
    fn on_start(&mut self, net: &mut Net) {
        self.udp = net.bind_udp("0.0.0.0:0", UdpOptions::default()).ok();
        net.set_interval(MS, 0);
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        let udp = self.udp.expect("no fault is active");
        for _ in 0..300 {
            let _ = net.send_to(udp, b"flood", self.to);
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Answers messages, and takes 20 microseconds for each callback.
#[derive(Default)]
struct Flooded {
    due: Option<Instant>,
    late: Duration,
    datagrams: u64,
}

impl Handler for Flooded {
    fn on_start(&mut self, net: &mut Net) {
        listen(net);
        // Two sockets, to which the time of a turn applies together.
        for port in [7000, 7001] {
            let addr = SocketAddr::from(([0, 0, 0, 0], port));
            net.bind_udp(addr, UdpOptions::default())
                .expect("the port is free");
        }
        self.due = Some(net.now() + 10 * MS);
        net.set_interval(10 * MS, 0);
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        let due = self.due.expect("set in `on_start`");
        self.late = self.late.max(net.now().saturating_duration_since(due));
        while self.due.is_some_and(|due| due <= net.now()) {
            self.due = self.due.map(|due| due + 10 * MS);
        }
    }

    fn on_datagram(&mut self, _: &mut Net, _: UdpId, _: SocketAddr, _: &[u8]) {
        sim::spend(20 * US);
        self.datagrams += 1;
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        sim::spend(20 * US);
        net.send(conn, message).expect("there is room");
    }
}

#[test]
fn flood_delays_neither_peers_nor_timers() {
    let mut world = calm(1);
    let mut config = strict();
    // Time bounds the visits, not the number.
    config.budget.datagrams = 1_000_000;
    let server = world.node(config, Flooded::default());
    let addr = world.addr(server);
    for port in [7000, 7001] {
        let to = SocketAddr::new(addr.ip(), port);
        world.node(strict(), Flood { to, udp: None });
    }
    let client = world.node(strict(), Asks::default());
    world
        .with(client, |_, net| net.connect(addr))
        .expect("no limit is reached");
    world.run_for(100 * MS);
    world.promise_served_within(client, 8 * MS);
    for _ in 0..100 {
        world.with(client, |it, net| it.ask(net, b"question"));
        world.run_for(10 * MS);
    }
    let server = world.handler(server);
    assert!(server.datagrams > 20_000, "{}", server.datagrams);
    assert!(server.late <= 5 * MS, "{:?}", server.late);
}
