use peerloop::config::{Rate, RateLimits};

use super::*;

/// A rate that nobody reaches.
const AMPLE: Option<Rate> = Some(Rate {
    per_second: 1_000_000,
    burst: 1_000_000,
});

/// The buckets of an address outlive its connections.
#[test]
fn rates_of_many_addresses_keep_to_the_limit() {
    const ADDRESSES: u64 = 5000;
    let alone = Alone::begin();
    let mut config = open_to(100);
    config.limits.accepts_per_address = AMPLE;
    config.limits.handshakes_per_address = AMPLE;
    config.limits.rate_per_address = RateLimits {
        receive_bytes: AMPLE,
        receive_messages: AMPLE,
        send_bytes: AMPLE,
        send_messages: AMPLE,
        ..Default::default()
    };
    let mut attacked = Attacked::new(config, echo);
    let addr = attacked.addr;
    attacked.during(move || {
        for number in 0..ADDRESSES {
            let mut peer = connect_from(loopback(number), addr);
            exchange(&mut peer, number);
            // No port is left in TIME_WAIT.
            let now = Some(Duration::ZERO);
            SockRef::from(&peer).set_linger(now).expect("a socket");
        }
    });
    attacked.until("all have come and gone", |node| {
        node.net().metrics().disconnected == ADDRESSES
    });
    attacked.end(ADDRESSES);
    alone.assert_below(MIB);
}

/// A connection that waits for tokens keeps the messages of one small read.
#[test]
fn peers_beyond_their_rate_take_little_memory() {
    const COUNT: usize = 100;
    let alone = Alone::begin();
    let mut attacked = Attacked::new(open_to(COUNT), echo);
    let mut options = attacked.node.net().listen_options();
    options.connection_mut().rate.receive_messages = Some(Rate {
        per_second: 1,
        burst: 10,
    });
    let listening = attacked.node.net().listen_with("127.0.0.1:0", options);
    let listening = listening.expect("a listener");
    let addr = listening.addr;
    attacked.during(move || {
        let messages = frame(b"x").repeat(100_000);
        let mut peers = Vec::new();
        for number in 0..COUNT as u64 {
            let mut peer = connect_from(loopback(number), addr);
            peer.set_nonblocking(true).expect("a socket");
            let _ = peer.write(&messages);
            peers.push(peer);
        }
        // The node reads what it reads.
        std::thread::sleep(Duration::from_millis(500));
    });
    let net = attacked.node.net();
    assert!(net.metrics().receive_rate_waits >= COUNT as u64);
    // They are gone, and would be reported after their messages.
    let limited = net.connections();
    let limited = limited.filter(|it| it.listener() == Some(listening.id));
    let limited: Vec<_> = limited.map(|it| it.id()).collect();
    assert_eq!(limited.len(), COUNT);
    limited.into_iter().for_each(|conn| net.abort(conn));
    attacked.end(COUNT as u64);
    alone.assert_below(COUNT * 24 * KIB + MIB);
}
