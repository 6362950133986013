//! Faults of calls: short, blocked, interrupted and failing ones.

use super::*;

#[test]
fn reads_and_writes_are_short_down_to_a_byte() {
    let (mut reads, mut writes) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..100 {
        let mut lab = Lab::new(seed);
        let (a, b) = lab.pair();
        lab.internet.faults.short_write = 1.0;
        writes.insert(lab.write(a, &[1; 50_000]).expect("there is room"));
        lab.internet.faults = Faults::calm();
        lab.pass(SHORT);
        lab.settle();
        while lab.write(a, &[1; 50_000]).is_ok() {
            lab.pass(SHORT);
        }
        lab.internet.faults.short_read = 1.0;
        reads.insert(lab.read(b).expect("there is something").len());
    }
    for lens in [reads, writes] {
        assert!(lens.contains(&1) && lens.contains(&2), "{lens:?}");
        assert!(
            lens.last() > Some(&10_000) && !lens.contains(&0),
            "{lens:?}"
        );
    }
}

#[test]
fn a_gathered_write_is_cut_inside_any_slice() {
    let mut cuts = BTreeSet::new();
    for seed in 0..200 {
        let mut lab = Lab::new(seed);
        let (a, b) = lab.pair();
        lab.internet.faults.short_write = 1.0;
        let slices = [&b"abc"[..], b"", b"defgh", b"ijkl"].map(IoSlice::new);
        let count = lab.internet.write(a, &slices).expect("there is room");
        cuts.insert(count);
        lab.pass(SHORT);
        let arrived = lab.read(b).expect("something was taken");
        assert_eq!(arrived, b"abcdefghijkl"[..count]);
    }
    assert_eq!(cuts, (1..12).collect());
}

#[test]
fn any_call_may_block_and_an_edge_follows() {
    let mut lab = Lab::new(1);
    let listener = lab.listen(10);
    let a = lab.connect();
    lab.settle();
    lab.internet.faults.would_block = 1.0;
    assert_eq!(kind(lab.accept(listener)), Some(ErrorKind::WouldBlock));
    assert!(lab.reports(lab.b).is_empty());
    lab.pass(SHORT);
    assert_eq!(lab.reports(lab.b)[0].token, LISTENER);
    lab.internet.faults.would_block = 0.0;
    let b = lab.accept(listener).expect("it waits");
    lab.settle();
    lab.internet.faults.would_block = 1.0;
    assert_eq!(kind(lab.write(a, b"x")), Some(ErrorKind::WouldBlock));
    assert!(lab.reports(lab.a).is_empty());
    lab.pass(SHORT);
    assert_eq!(bits(&lab.reports(lab.a)), [(false, true, false)]);
    lab.internet.faults.would_block = 0.0;
    assert_eq!(lab.write(a, b"x").ok(), Some(1));
    lab.settle();
    lab.internet.faults.would_block = 1.0;
    assert_eq!(kind(lab.read(b)), Some(ErrorKind::WouldBlock));
    lab.pass(SHORT);
    assert!(lab.reports(lab.b)[0].readable);
    assert_eq!(lab.internet.counts.would_blocks, 3);
}

#[test]
fn any_call_may_be_interrupted() {
    let mut lab = Lab::new(1);
    let (a, b) = lab.pair();
    let listener = lab.internet.listeners_of(lab.b)[0];
    lab.internet.faults.interrupted = 1.0;
    assert_eq!(kind(lab.write(a, b"x")), Some(ErrorKind::Interrupted));
    assert_eq!(kind(lab.read(b)), Some(ErrorKind::Interrupted));
    assert_eq!(kind(lab.accept(listener)), Some(ErrorKind::Interrupted));
    assert_eq!(lab.internet.counts.interrupted, 3);
}

#[test]
fn accepts_and_connects_fail_and_recover() {
    let mut codes = BTreeSet::new();
    for seed in 0..30 {
        let mut lab = Lab::new(seed);
        let listener = lab.listen(10);
        lab.connect();
        lab.settle();
        lab.internet.faults.no_descriptor = 1.0;
        let error = lab.accept(listener).expect_err("nothing is left");
        codes.insert((error.raw_os_error(), error.kind() == ErrorKind::OutOfMemory));
        lab.internet.faults.no_descriptor = f64::MIN_POSITIVE;
        // An attempt to connect makes the same check.
        let again = lab.internet.check_shortage(lab.b);
        assert_eq!(kind(again), Some(error.kind()), "it lasts");
        lab.pass(3 * SECOND);
        assert!(lab.accept(listener).is_ok());
    }
    let all = [(None, true), (Some(23), false), (Some(24), false)];
    assert_eq!(codes, all.into());
}

#[test]
fn an_aborted_accept_resets_the_other_end() {
    let mut lab = Lab::new(1);
    let listener = lab.listen(10);
    let a = lab.connect();
    lab.settle();
    lab.internet.faults.aborted_accept = 1.0;
    assert_eq!(
        kind(lab.accept(listener)),
        Some(ErrorKind::ConnectionAborted)
    );
    lab.pass(SHORT);
    assert_eq!(kind(lab.read(a)), Some(ErrorKind::ConnectionReset));
}

#[test]
fn registering_a_socket_may_fail() {
    let mut lab = Lab::new(1);
    lab.internet.faults.failed_registration = 1.0;
    let connected = lab.try_connect(SocketAddr::new(B, PORT), None);
    assert_eq!(kind(connected), Some(ErrorKind::StorageFull));
    assert_eq!(lab.internet.counts.failed_registrations, 1);
}
