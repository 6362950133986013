//! The ends of connections: FIN, resets, timeouts and partitions.

use super::*;

#[test]
fn a_fin_is_reported_with_data_or_after_it() {
    let mut lab = Lab::new(1);
    let (a, b) = lab.pair();
    assert_eq!(lab.write(a, b"x").ok(), Some(1));
    lab.internet.shutdown_write(a).expect("it is established");
    lab.pass(SHORT);
    assert_eq!(bits(&lab.reports(lab.b)), [(true, false, true)]);
    assert_eq!(lab.internet.counts.fin_with_data, 1);
    assert_eq!(lab.read(b).ok(), Some(b"x".to_vec()));
    assert_eq!(lab.read(b).ok(), Some(vec![]));

    let mut lab = Lab::new(1);
    let (a, b) = lab.pair();
    assert_eq!(lab.write(a, b"x").ok(), Some(1));
    lab.pass(SHORT);
    assert_eq!(bits(&lab.reports(lab.b)), [(true, false, false)]);
    assert_eq!(lab.read(b).ok(), Some(b"x".to_vec()));
    lab.internet.shutdown_write(a).expect("it is established");
    lab.pass(SHORT);
    assert_eq!(bits(&lab.reports(lab.b)), [(true, false, true)]);
    // The other direction stays open.
    assert_eq!(lab.write(b, b"y").ok(), Some(1));
    lab.pass(SHORT);
    assert_eq!(lab.read(a).ok(), Some(b"y".to_vec()));
}

#[test]
fn a_reset_strikes_at_any_byte() {
    let mut lens = BTreeSet::new();
    for seed in 0..200 {
        let mut lab = Lab::new(seed);
        let (a, b) = lab.pair();
        lab.internet.faults.reset = 1.0;
        assert_eq!(lab.write(a, b"abcdef").ok(), Some(6));
        assert_eq!(lab.internet.other_end(a), Some((b, Some(6))));
        lab.pass(SHORT);
        assert_eq!(lab.internet.other_end(a), Some((b, None)));
        // An error sets all flags.
        assert_eq!(bits(&lab.reports(lab.b)), [(true, true, true)]);
        let len = lab.internet.sockets[&b].received.len();
        lens.insert(len);
        if len > 0 {
            assert_eq!(lab.read(b).ok().as_deref(), Some(&b"abcdef"[..len]));
        }
        assert_eq!(kind(lab.read(b)), Some(ErrorKind::ConnectionReset));
        assert_eq!(lab.read(b).ok(), Some(vec![]), "the error is reported once");
        assert_eq!(kind(lab.write(a, b"x")), Some(ErrorKind::ConnectionReset));
        assert_eq!(kind(lab.write(a, b"x")), Some(ErrorKind::BrokenPipe));
    }
    assert_eq!(lens, (0..=6).collect());
}

#[test]
fn a_reset_keeps_unread_data_by_default() {
    for (discards, expected) in [
        (0.0, Ok(b"abc".to_vec())),
        (1.0, Err(ErrorKind::ConnectionReset)),
    ] {
        let mut lab = Lab::new(1);
        let (a, b) = lab.pair();
        lab.internet.faults.reset_discards = discards;
        assert_eq!(lab.write(a, b"abc").ok(), Some(3));
        lab.pass(SHORT);
        lab.internet.close(a, true);
        lab.pass(SHORT);
        assert_eq!(lab.read(b).map_err(|error| error.kind()), expected);
    }
}

#[test]
fn a_discarding_reset_discards_the_fin() {
    let mut lab = Lab::new(1);
    let (a, b) = lab.pair();
    lab.internet.faults.reset_discards = 1.0;
    assert_eq!(lab.write(a, b"abc").ok(), Some(3));
    lab.internet.shutdown_write(a).expect("it is established");
    lab.pass(SHORT);
    lab.internet.close(a, true);
    lab.pass(SHORT);
    assert_eq!(kind(lab.read(b)), Some(ErrorKind::ConnectionReset));
}

#[test]
fn after_a_fin_only_so_error_reports_a_reset() {
    let mut lab = Lab::new(1);
    let (a, b) = lab.pair();
    lab.internet.shutdown_write(a).expect("it is established");
    lab.pass(SHORT);
    lab.internet.close(a, true);
    lab.pass(SHORT);
    assert_eq!(lab.read(b).ok(), Some(vec![]));
    assert_eq!(lab.error(b), Some(ErrorKind::BrokenPipe));
    assert_eq!(lab.error(b), None);
}

#[test]
fn closed_sockets_answer_with_a_reset() {
    let mut lab = Lab::new(1);
    let (a, b) = lab.pair();
    assert_eq!(lab.write(a, b"abc").ok(), Some(3));
    lab.pass(SHORT);
    lab.internet.close(b, false);
    lab.pass(SHORT);
    assert_eq!(kind(lab.read(a)), Some(ErrorKind::ConnectionReset));

    let mut lab = Lab::new(1);
    let (a, b) = lab.pair();
    lab.internet.close(b, false);
    lab.pass(SHORT);
    assert_eq!(lab.read(a).ok(), Some(vec![]));
    assert_eq!(lab.write(a, b"abc").ok(), Some(3));
    lab.pass(SHORT);
    assert_eq!(lab.error(a), Some(ErrorKind::BrokenPipe));
    let counts = lab.internet.counts;
    assert_eq!((counts.data_after_close, counts.closed_unread), (1, 0));
}

#[test]
fn unacknowledged_data_times_out() {
    let mut lab = Lab::new(1);
    let (a, _) = lab.pair();
    lab.internet.partition(&[A], &[B]);
    assert_eq!(lab.write(a, b"abc").ok(), Some(3));
    lab.pass(900 * SECOND);
    assert_eq!(lab.error(a), None);
    lab.pass(60 * SECOND);
    assert_eq!(lab.error(a), Some(ErrorKind::TimedOut));
}

#[test]
fn data_whose_acknowledgement_is_lost_times_out() {
    let mut lab = Lab::new(1);
    let (a, b) = lab.pair();
    lab.internet.partition_one_way(&[B], &[A]);
    assert_eq!(lab.write(a, b"abc").ok(), Some(3));
    lab.pass(SHORT);
    assert_eq!(lab.read(b).ok(), Some(b"abc".to_vec()));
    assert_eq!(lab.write(b, b"def").ok(), Some(3));
    lab.pass(900 * SECOND);
    assert_eq!(kind(lab.read(a)), Some(ErrorKind::WouldBlock));
    lab.pass(60 * SECOND);
    assert_eq!(lab.error(a), Some(ErrorKind::TimedOut));
}

#[test]
fn a_cut_in_one_direction_heals() {
    let mut lab = Lab::new(1);
    let (a, b) = lab.pair();
    lab.internet.partition_one_way(&[B], &[A]);
    assert_eq!(lab.write(a, b"abc").ok(), Some(3));
    assert_eq!(lab.write(b, b"def").ok(), Some(3));
    lab.pass(SECOND);
    // The order of the hosts does not matter.
    lab.internet.heal(&[A], &[B]);
    lab.pass(SECOND);
    assert_eq!(lab.read(a).ok(), Some(b"def".to_vec()));
    assert_eq!(lab.read(b).ok(), Some(b"abc".to_vec()));
    lab.pass(1000 * SECOND);
    assert_eq!((lab.error(a), lab.error(b)), (None, None));
}
