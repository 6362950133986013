use peerloop::config::TrustedProxies;

use super::*;

/// Opens a listener that trusts proxies on this host.
fn behind_proxies(attacked: &mut Attacked) -> SocketAddr {
    let net = attacked.node.net();
    let mut options = net.listen_options();
    let host = "127.0.0.0/8".parse().expect("a network");
    options.proxy_protocol = Some(TrustedProxies::new([host]));
    let listening = net.listen_with("127.0.0.1:0", options);
    listening.expect("a listener").addr
}

#[test]
fn pending_headers_keep_to_the_places() {
    const COUNT: usize = 3000;
    let alone = Alone::begin();
    let mut attacked = Attacked::new(Config::default(), echo);
    let addr = behind_proxies(&mut attacked);
    let places = Config::default().limits.max_inbound_handshakes;
    let (before, quiet) = (descriptors(), heap());
    let mut attackers = Attackers::begin(PROGRAM, addr, COUNT, "half-headers");
    let ended = |node: &mut peerloop::Node<_>| {
        let metrics = node.net().metrics();
        metrics.refused_by_handshakes + metrics.handshakes_evicted + metrics.proxy_header_errors
    };
    attacked.until("all have begun a header", |node| {
        attackers.are_ready() && ended(node) >= (COUNT - places) as u64
    });
    println!("pending headers hold {} KiB", (heap() - quiet) / KIB);
    // The pipes to the attackers are descriptors too.
    assert!(descriptors() <= before + places + 10);
    attacked.honest_goes_on();
    attackers.give_up();
    attacked.until("none is left", |node| ended(node) == COUNT as u64);
    let mut node = attacked.end(COUNT as u64);
    assert_eq!(node.net().metrics().accepted, 1, "the honest peer");
    alone.assert_below(2 * MIB);
}

/// The longest headers of version 2, whole and cut.
#[test]
fn long_headers_take_no_memory() {
    const ROUNDS: u64 = 300;
    let alone = Alone::begin();
    let mut attacked = Attacked::new(Config::default(), echo);
    let addr = behind_proxies(&mut attacked);
    attacked.during(move || {
        let mut random = Random::new(7);
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec();
        header.resize(16 + 65_535, 1);
        for round in 0..ROUNDS {
            let mut peer = connect_from(loopback(round), addr);
            let len = match round % 2 {
                0 => header.len(),
                _ => random.below(header.len()),
            };
            peer.write_all(&header[..len]).expect("the node reads");
        }
    });
    attacked.until("all are read", |node| {
        let metrics = node.net().metrics();
        metrics.accepted == 1 + ROUNDS / 2 && metrics.proxy_header_errors == ROUNDS / 2
    });
    attacked.end(20 * ROUNDS);
    alone.assert_below(MIB);
}
