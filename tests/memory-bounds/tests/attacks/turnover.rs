use super::*;

/// Connects and disconnects in every way there is, and counts.
fn connect_and_disconnect(addr: SocketAddr, end: Instant, seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut count = 0;
    while Instant::now() < end {
        let mut peer = connect_from(loopback(random.next_u64() >> 10), addr);
        count += 1;
        let opening: &[u8] = match random.next_u64() % 4 {
            0 => b"",
            1 => &[0],
            2 => &[0, 0, 0, 9, 1],
            _ => &[0, 0, 0, 1, 5, 0, 0],
        };
        peer.write_all(opening).expect("room for some bytes");
        if random.next_u64() % 8 != 0 {
            // Most are reset, because otherwise they would soon fill the tables
            // of the system.
            let now = Some(Duration::ZERO);
            SockRef::from(&peer).set_linger(now).expect("a socket");
        }
    }
    count
}

#[test]
fn endless_reconnects_leave_nothing_behind() {
    let time = settings::seconds(5);
    let alone = Alone::begin();
    let mut attacked = Attacked::new(Config::default(), echo);
    attacked.honest_goes_on();
    let (before, held) = (heap(), descriptors());
    let (addr, end) = (attacked.addr, Instant::now() + time);
    let (report, reported) = std::sync::mpsc::channel();
    attacked.during_at_most(time + PATIENCE, move || {
        let count = connect_and_disconnect(addr, end, 11);
        report.send(count).expect("the test waits");
    });
    let count = reported.recv().expect("the attacker has counted");
    attacked.until("all have come and gone", |node| {
        node.net().metrics().disconnected == count
    });
    println!("{count} connections in {time:?}");
    assert_eq!(descriptors(), held);
    assert!(
        heap() < before + 512 * KIB,
        "{} bytes are left behind",
        heap() - before
    );
    attacked.end(count);
    alone.assert_below(4 * MIB);
}
