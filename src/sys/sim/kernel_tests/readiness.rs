//! Reports of readiness, and the faults of pollers.

use super::*;
use crate::sys::sim::Selector;

#[test]
fn several_arrivals_are_one_edge() {
    let mut lab = Lab::new(1);
    let (a, b) = lab.pair();
    for _ in 0..3 {
        assert_eq!(lab.write(a, b"abc").ok(), Some(3));
        lab.pass(SHORT);
    }
    // Room is an edge only if the program has seen a full buffer.
    assert!(lab.reports(lab.a).is_empty());
    assert_eq!(bits(&lab.reports(lab.b)), [(true, false, false)]);
    assert!(
        lab.reports(lab.b).is_empty(),
        "nothing was read, nothing arrived"
    );
    assert_eq!(lab.write(a, b"d").ok(), Some(1));
    lab.pass(SHORT);
    assert_eq!(lab.reports(lab.b).len(), 1);
    assert_eq!(lab.read(b).ok(), Some(b"abcabcabcd".to_vec()));
    assert_eq!(kind(lab.read(b)), Some(ErrorKind::WouldBlock));
    assert!(lab.reports(lab.b).is_empty());
}

#[test]
fn room_of_an_accepted_socket_is_watched_later() {
    for selector in [Selector::Epoll, Selector::Poll] {
        let mut lab = Lab::new(1);
        lab.internet.set_selector(B, selector);
        let listener = lab.listen(10);
        let a = lab.connect();
        lab.pass(SHORT);
        assert_eq!(lab.reports(lab.b).len(), 1, "the listener");
        let b = lab.accept(listener).expect("it waits");
        assert!(lab.reports(lab.b).is_empty(), "only for reading");
        while lab.write(b, &[0; 50_000]).is_ok() {}
        lab.pass(SHORT);
        assert_eq!(lab.read(a).map(|read| read.len()).ok(), Some(128 * 1024));
        lab.settle();
        assert!(lab.write(b, b"x").is_ok(), "there is room");
        lab.internet.watch_room(b);
        assert_eq!(bits(&lab.reports(lab.b)), [(false, true, false)]);
        lab.internet.watch_room(b);
        assert!(lab.reports(lab.b).is_empty(), "it was watched already");
        while lab.write(b, &[0; 50_000]).is_ok() {}
        lab.pass(SHORT);
        assert!(lab.read(a).is_ok());
        lab.pass(SHORT);
        assert_eq!(bits(&lab.reports(lab.b)), [(false, true, false)]);
    }
}

#[test]
fn room_of_a_connecting_socket_means_connected() {
    let unused = SocketAddr::from(([10, 9, 9, 9], 1));
    for seed in 0..100 {
        let mut lab = Lab::new(seed);
        let connect = lab.try_connect(unused, None).expect("nothing forbids it");
        assert!(lab.internet.is_on_epoll(connect));
        lab.internet.faults.spurious_readiness = 1.0;
        let reports = lab.reports(lab.a);
        assert!(
            reports.iter().all(|it| it.readable && !it.writable),
            "{reports:?}"
        );
    }
}

#[test]
fn directions_are_reported_separately() {
    let mut orders = BTreeSet::new();
    for seed in 0..30 {
        let mut lab = Lab::new(seed);
        let (_, b) = lab.pair();
        lab.internet.faults.split_readiness = 1.0;
        assert_eq!(lab.write(b, b"abc").ok(), Some(3));
        lab.pass(SHORT);
        let mut seen = lab.reports(lab.a);
        lab.internet.faults.split_readiness = 0.0;
        seen.extend(lab.reports(lab.a));
        assert!(seen.iter().any(|it| it.readable), "{seen:?}");
        orders.insert(bits(&seen));
    }
    assert!(orders.len() > 1, "{orders:?}");
    assert!(orders.contains(&vec![(true, false, false), (false, true, false)]));
}

#[test]
fn spurious_reports_name_sockets_and_listeners() {
    let mut tokens = BTreeSet::new();
    for seed in 0..100 {
        let mut lab = Lab::new(seed);
        lab.pair();
        lab.internet.faults.spurious_readiness = 1.0;
        let unused = SocketAddr::from(([10, 9, 9, 9], 1));
        let connect = lab.try_connect(unused, None).expect("nothing forbids it");
        assert!(matches!(lab.internet.connected(connect), Ok(None)));
        for poller in [lab.a, lab.b] {
            let reports = lab.reports(poller);
            assert!(reports.iter().all(|it| !it.finished));
            tokens.extend(reports.iter().map(|it| (poller, it.token)));
        }
        assert!(lab.internet.counts.spurious_readiness > 0);
    }
    // The outbound socket, both ends of the connection, and the listener.
    assert_eq!(tokens.len(), 4, "{tokens:?}");
}

#[test]
fn closed_sockets_are_reported_once_more() {
    let mut lab = Lab::new(1);
    let (_, b) = lab.pair();
    lab.internet.faults.stale_readiness = 1.0;
    lab.internet.close(b, false);
    let listener = lab.internet.listeners_of(lab.b)[0];
    lab.internet.close_listener(listener, false);
    let tokens: Vec<usize> = lab.reports(lab.b).iter().map(|it| it.token).collect();
    assert_eq!(tokens, [b as usize, LISTENER]);
    assert_eq!(lab.internet.counts.stale_readiness, 2);
}

/// Makes five connections with new data. Returns the tokens of the first
/// wait, and of all later waits.
fn batches(seed: u64, faults: Faults) -> (Vec<usize>, Vec<usize>) {
    let mut lab = Lab::new(seed);
    let listener = lab.listen(10);
    let connects: Vec<SocketId> = (0..5).map(|_| lab.connect()).collect();
    lab.pass(SHORT);
    let accepted: Vec<SocketId> = (0..5).map_while(|_| lab.accept(listener).ok()).collect();
    assert_eq!(accepted.len(), 5);
    lab.settle();
    for connect in connects {
        assert_eq!(lab.write(connect, b"x").ok(), Some(1));
    }
    lab.pass(SHORT);
    lab.internet.faults = faults;
    let first: Vec<usize> = lab.reports(lab.b).iter().map(|it| it.token).collect();
    let mut rest = Vec::new();
    while lab.internet.has_reports(lab.b) {
        rest.extend(lab.reports(lab.b).iter().map(|it| it.token));
    }
    let mut all: Vec<usize> = first.iter().chain(&rest).copied().collect();
    all.sort_unstable();
    let accepted: Vec<usize> = accepted.iter().map(|id| *id as usize).collect();
    assert_eq!(all, accepted, "each is reported once");
    (first, rest)
}

#[test]
fn the_order_within_a_wait_is_random() {
    let mut faults = Faults::calm();
    assert_eq!(batches(1, faults.clone()), batches(2, faults.clone()));
    faults.shuffled = 1.0;
    let orders: BTreeSet<Vec<usize>> = (0..50)
        .map(|seed| batches(seed, faults.clone()).0)
        .collect();
    assert!(orders.len() > 20, "{} of 120 orders", orders.len());
}

#[test]
fn a_wait_may_return_a_part() {
    let mut faults = Faults::calm();
    faults.small_batches = 1.0;
    let sizes: BTreeSet<usize> = (0..50)
        .map(|seed| batches(seed, faults.clone()).0.len())
        .collect();
    assert_eq!(sizes, [1, 2, 3, 4].into());
}

#[test]
fn a_wait_may_be_interrupted_and_loses_nothing() {
    let mut faults = Faults::calm();
    faults.interrupted = 0.5;
    let firsts: BTreeSet<usize> = (0..20)
        .map(|seed| batches(seed, faults.clone()).0.len())
        .collect();
    assert_eq!(firsts, [0, 5].into());
}

#[test]
fn a_report_may_come_later() {
    let mut lab = Lab::new(1);
    let (a, _) = lab.pair();
    lab.internet.faults.delayed_readiness = 1.0;
    assert_eq!(lab.write(a, b"x").ok(), Some(1));
    lab.pass(SHORT);
    assert!(lab.reports(lab.b).is_empty());
    lab.pass(SHORT);
    assert_eq!(lab.reports(lab.b).len(), 1, "delayed once");
}

#[test]
fn any_turn_but_the_first_may_come_later() {
    let mut lab = Lab::new(1);
    lab.internet.faults.late_turn = 1.0;
    let mut late = BTreeSet::new();
    for turn in 0..20 {
        let due = lab.internet.now() + SECOND;
        lab.internet.want_turn(lab.a, due);
        assert_eq!(lab.internet.advance(due + SECOND), Some(lab.a));
        let by = lab.internet.now() - due;
        assert!(by <= Duration::from_millis(10));
        assert_eq!(by.is_zero(), turn == 0);
        late.insert(by);
    }
    assert!(late.len() > 10);
    assert_eq!(lab.internet.counts.late_turns, 19);
}

#[test]
fn a_third_of_the_buffer_is_room_for_an_edge() {
    let mut lab = Lab::new(1);
    let (a, b) = lab.pair();
    let sockets = &mut lab.internet.sockets;
    sockets.get_mut(&a).expect("it is there").send_capacity = 3000;
    sockets.get_mut(&b).expect("it is there").receive_capacity = 3000;
    let mut taken = 0;
    while let Ok(count) = lab.write(a, &[1; 1000]) {
        taken += count;
        lab.pass(SHORT);
    }
    assert_eq!(taken, 6000, "both buffers, and not a byte more");
    lab.settle();
    let mut buffer = [0; 100];
    for read in 1..=9 {
        assert_eq!(lab.internet.read(b, &mut buffer).ok(), Some(100));
        lab.pass(SHORT);
        assert!(lab.reports(lab.a).is_empty(), "{} are free", read * 100);
    }
    assert_eq!(lab.internet.read(b, &mut buffer).ok(), Some(100));
    lab.pass(SHORT);
    assert_eq!(bits(&lab.reports(lab.a)), [(false, true, false)]);
    // A write may succeed before the edge.
    assert_eq!(lab.write(a, &[1; 4000]).ok(), Some(1000));
    assert_eq!(lab.internet.read(b, &mut buffer).ok(), Some(100));
    lab.pass(SHORT);
    assert!(lab.reports(lab.a).is_empty());
    assert_eq!(lab.write(a, &[1; 4000]).ok(), Some(100));
}
